//! The state machine of the search: a few registers, and commands that are bytes.

/// Registers.
pub(crate) const KEYS: usize = 2;

/// A command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Write(usize, u64),
    CompareAndSet(usize, u64, u64),
}

impl Command {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let (kind, key, one, other) = match self {
            Command::Write(key, value) => (0, key, value, 0),
            Command::CompareAndSet(key, old, new) => (1, key, old, new),
        };
        [kind, key as u64, one, other]
            .map(u64::to_be_bytes)
            .concat()
    }

    fn read(bytes: &[u8]) -> Command {
        let word = |at: usize| {
            let bytes = bytes[8 * at..8 * at + 8].try_into();
            u64::from_be_bytes(bytes.expect("eight bytes"))
        };
        match word(0) {
            0 => Command::Write(word(1) as usize, word(2)),
            _ => Command::CompareAndSet(word(1) as usize, word(2), word(3)),
        }
    }
}

/// The registers; 0 is nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Registers([u64; KEYS]);

impl Registers {
    /// Carries a command out; whether it changed anything.
    pub(crate) fn apply(&mut self, bytes: &[u8]) -> bool {
        match Command::read(bytes) {
            Command::Write(key, value) => {
                self.0[key] = value;
                true
            }
            Command::CompareAndSet(key, old, new) => {
                let matches = self.0[key] == old;
                if matches {
                    self.0[key] = new;
                }
                matches
            }
        }
    }

    pub(crate) fn read(&self, key: usize) -> Option<u64> {
        Some(self.0[key]).filter(|value| *value != 0)
    }

    pub(crate) fn snapshot(&self) -> Vec<u8> {
        self.0
            .iter()
            .flat_map(|value| value.to_be_bytes())
            .collect()
    }

    pub(crate) fn restore(bytes: &[u8]) -> Registers {
        let mut registers = Registers::default();
        for (register, bytes) in registers.0.iter_mut().zip(bytes.chunks_exact(8)) {
            *register = u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
        }
        registers
    }
}
