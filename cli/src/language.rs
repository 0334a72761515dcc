//! `anyedge fmt`, `anyedge schema`, `anyedge import`: what is about the files themselves.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use anyedge_topologies::{Diagnostic, format, gml, schema};

use crate::args::{FmtArgs, GmlArgs, ImportCommand, SchemaArgs};
use crate::check;
use crate::exit::Exit;
use crate::mistakes;

/// Lays files out.
pub(crate) fn fmt(args: &FmtArgs) -> Exit {
    let mut exit = Exit::Kept;
    for file in &args.files {
        if check::is_of_another_tool(file) {
            continue;
        }
        let own = if file == Path::new("-") {
            fmt_stdin(args.check)
        } else {
            fmt_file(file, args.check)
        };
        exit = worse(exit, own);
    }
    exit
}

/// Bad input before what is found, and both before nothing.
fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit: &Exit| match exit {
        Exit::Kept => 0,
        Exit::Broken => 1,
        Exit::BadInput => 2,
        Exit::Internal | Exit::Passed(_) => 3,
    };
    if rank(&other) > rank(&one) {
        other
    } else {
        one
    }
}

fn fmt_file(file: &Path, check: bool) -> Exit {
    let formatted = match format::load(file) {
        Ok(formatted) => formatted,
        Err(found) => return refused(file, &found),
    };
    if formatted.before == formatted.after {
        return Exit::Kept;
    }
    if check {
        mistakes::say(&format!("{}: not laid out\n", file.display()));
        return Exit::Broken;
    }
    match replace(file, &formatted.after) {
        Ok(()) => {
            mistakes::say(&format!("{}: laid out\n", file.display()));
            Exit::Kept
        }
        Err(error) => {
            mistakes::complain(&format!("{}: {error}", file.display()));
            Exit::Internal
        }
    }
}

/// Writes beside the file and renames, so that nobody reads half of it, and with its own rights.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = fs::canonicalize(file)?;
    let mut beside = file.clone().into_os_string();
    beside.push(format!(".{}", std::process::id()));
    fs::write(&beside, text)?;
    fs::set_permissions(&beside, fs::metadata(&file)?.permissions())?;
    fs::rename(&beside, &file)
}

fn fmt_stdin(check: bool) -> Exit {
    let mut text = String::new();
    if let Err(error) = io::stdin().lock().read_to_string(&mut text) {
        mistakes::complain(&format!("stdin: {error}"));
        return Exit::BadInput;
    }
    match format::parse("stdin", &text) {
        Ok(after) if check && after != text => {
            mistakes::say("stdin: not laid out\n");
            Exit::Broken
        }
        Ok(_) if check => Exit::Kept,
        Ok(after) => on_stdout(after.as_bytes()),
        Err(found) => {
            found
                .iter()
                .for_each(|mistake| mistakes::complain(&mistake.to_string()));
            Exit::BadInput
        }
    }
}

/// Prints the schema.
pub(crate) fn schema(_: &SchemaArgs) -> Exit {
    on_stdout(format!("{:#}\n", schema::schema()).as_bytes())
}

/// Makes a topology of another tool's file.
pub(crate) fn import(command: &ImportCommand) -> Exit {
    let ImportCommand::Gml(args) = command;
    match imported(args) {
        Ok(exit) => exit,
        Err(error) => {
            mistakes::complain(&error);
            Exit::BadInput
        }
    }
}

fn imported(args: &GmlArgs) -> Result<Exit, String> {
    let shown = args.file.display();
    let bytes = fs::read(&args.file).map_err(|error| format!("{shown}: {error}"))?;
    // Zoo files have labels in Latin-1 too, which become replacement characters.
    let text = String::from_utf8_lossy(&bytes);
    let made = gml::import(&shown.to_string(), &text, args.region.as_deref());
    let imported = match made {
        Ok(imported) => imported,
        Err(found) => return Ok(refused(&args.file, &found)),
    };
    for left_out in &imported.left_out {
        mistakes::complain(&format!("{shown}: {left_out}"));
    }
    let Some(out) = &args.out else {
        return Ok(on_stdout(imported.text.as_bytes()));
    };
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).open(out);
    let written = opened.and_then(|mut file| file.write_all(imported.text.as_bytes()));
    written.map_err(|error| format!("{}: {error}", out.display()))?;
    Ok(Exit::Kept)
}

fn refused(file: &Path, found: &[Diagnostic]) -> Exit {
    mistakes::print(file, found);
    Exit::BadInput
}

/// Bytes on stdout. A reader such as `head` that has seen enough is no failure of ours.
pub(crate) fn on_stdout(bytes: &[u8]) -> Exit {
    match io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            mistakes::complain(&format!("stdout: {error}"));
            Exit::Internal
        }
        _ => Exit::Kept,
    }
}
