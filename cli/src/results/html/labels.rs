//! Names on a map, none over another: each beside its mark, on the first side that is free, or not at all.

/// Width of a letter, in heights of the letters.
const LETTER: f64 = 0.6;

/// What wants a name.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) x: f64,
    pub(super) y: f64,
    /// Radius of its mark.
    pub(super) radius: f64,
    /// Height of its letters.
    pub(super) letters: f64,
}

/// Where a name stands: the left end of its foot.
pub(super) struct Label<'a> {
    pub(super) name: &'a str,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) letters: f64,
}

#[derive(Clone, Copy)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn meets(&self, other: &Area) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn is_within(&self, width: f64, height: f64) -> bool {
        self.left >= 0.0 && self.top >= 0.0 && self.right <= width && self.bottom <= height
    }
}

/// Places `wanted`, the most important first, on a map of that size.
pub(super) fn place<'a>(wanted: &[Wanted<'a>], (width, height): (f64, f64)) -> Vec<Label<'a>> {
    let mark = |it: &Wanted<'_>| Area {
        left: it.x - it.radius,
        top: it.y - it.radius,
        right: it.x + it.radius,
        bottom: it.y + it.radius,
    };
    let mut taken: Vec<Area> = wanted.iter().map(mark).collect();
    let mut placed = Vec::new();
    for it in wanted {
        let letters = it.letters;
        let long = it.name.chars().count() as f64 * letters * LETTER;
        let off = it.radius + letters * 0.25;
        let low = it.y + letters * 0.35;
        let sides = [
            (it.x + off, low),
            (it.x - off - long, low),
            (it.x - long / 2.0, it.y - off),
            (it.x - long / 2.0, it.y + off + letters * 0.75),
            (it.x + off * 0.7, it.y - off * 0.7),
            (it.x + off * 0.7, it.y + off * 0.7 + letters * 0.7),
            (it.x - off * 0.7 - long, it.y - off * 0.7),
            (it.x - off * 0.7 - long, it.y + off * 0.7 + letters * 0.7),
        ];
        let area = |(x, y): (f64, f64)| Area {
            left: x,
            top: y - letters * 0.8,
            right: x + long,
            bottom: y + letters * 0.2,
        };
        let is_free = |side: &(f64, f64)| {
            let own = area(*side);
            own.is_within(width, height) && !taken.iter().any(|other| own.meets(other))
        };
        let Some(side) = sides.into_iter().find(is_free) else {
            continue;
        };
        taken.push(area(side));
        placed.push(Label {
            name: it.name,
            x: side.0,
            y: side.1,
            letters,
        });
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str, x: f64) -> Wanted<'_> {
        Wanted {
            name,
            x,
            y: 50.0,
            radius: 4.0,
            letters: 10.0,
        }
    }

    #[test]
    fn a_name_gives_way_to_the_one_before_it_and_one_without_room_is_left_out() {
        let placed = place(&[at("tokyo", 50.0), at("osaka", 60.0)], (200.0, 100.0));
        assert_eq!(placed.len(), 2);
        assert!(placed[0].x < 50.0, "the right side is the other's mark");
        assert!(placed[1].x > 60.0);
        let long = "a-name-that-is-much-longer-than-the-map-is-wide";
        assert!(place(&[at(long, 50.0)], (200.0, 100.0)).is_empty());
    }
}
