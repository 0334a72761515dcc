//! Files that outlive crashes, as far as a host that does not crash can show it, and work that blocks.

use std::io::ErrorKind;
use std::time::Duration;

use anyedge_net::host::{DurableFile, Host};

use super::judge::{fails, same, soon, works};
use super::{Finding, Pair};

/// All of a file.
fn read_all(file: &impl DurableFile) -> Result<Vec<u8>, String> {
    let len = works("asking the length", file.len())?;
    let mut bytes = vec![0; len as usize];
    works("reading", file.read_at(0, &mut bytes))?;
    Ok(bytes)
}

/// A fresh file of this content, synced.
fn made<H: Host>(host: &H, name: &str, bytes: &[u8]) -> Result<H::File, String> {
    let file = works("making a file", host.open_file(name))?;
    works("writing", file.write_at(0, bytes))?;
    works("syncing", file.sync())?;
    Ok(file)
}

pub(super) async fn a_file_reads_as_it_was_written<H: Host>(pair: Pair<H>) -> Finding {
    let file = made(&pair.a, "file", b"what was written")?;
    works("overwriting", file.write_at(5, b"is so"))?;
    same("content", read_all(&file)?, b"what is soritten".to_vec())?;
    let mut middle = [0; 4];
    works("reading", file.read_at(8, &mut middle))?;
    same("four bytes", &middle, b"sori")?;
    works("reading nothing", file.read_at(16, &mut []))
}

pub(super) async fn reading_past_the_end_is_an_error<H: Host>(pair: Pair<H>) -> Finding {
    let file = made(&pair.a, "file", b"ten bytes.")?;
    let mut into = [0; 4];
    let past = file.read_at(7, &mut into);
    fails("reading past the end", past, ErrorKind::UnexpectedEof)?;
    let beyond = file.read_at(100, &mut into);
    fails("reading beyond the end", beyond, ErrorKind::UnexpectedEof)
}

pub(super) async fn a_file_grows_with_zeros_and_is_cut<H: Host>(pair: Pair<H>) -> Finding {
    let file = made(&pair.a, "file", b"ab")?;
    works("writing beyond the end", file.write_at(4, b"e"))?;
    same("content", read_all(&file)?, b"ab\0\0e".to_vec())?;
    works("cutting", file.set_len(1))?;
    works("lengthening", file.set_len(3))?;
    same("content", read_all(&file)?, b"a\0\0".to_vec())
}

pub(super) async fn a_closed_file_is_opened_again_as_it_was<H: Host>(pair: Pair<H>) -> Finding {
    drop(made(&pair.a, "file", b"still here")?);
    let again = works("opening again", pair.a.open_file("file"))?;
    same("content", read_all(&again)?, b"still here".to_vec())
}

pub(super) async fn an_open_file_is_not_opened_twice<H: Host>(pair: Pair<H>) -> Finding {
    let file = made(&pair.a, "file", b"mine")?;
    let twice = pair.a.open_file("file");
    fails("opening twice", twice, ErrorKind::ResourceBusy)?;
    same("content", read_all(&file)?, b"mine".to_vec())
}

pub(super) async fn a_renamed_file_takes_the_place_of_another<H: Host>(pair: Pair<H>) -> Finding {
    drop(made(&pair.a, "file", b"old")?);
    let new = made(&pair.a, "file.new", b"new")?;
    works("renaming", pair.a.rename_file("file.new", "file"))?;
    works("writing on", new.write_at(3, b"er"))?;
    drop(new);
    let file = works("opening", pair.a.open_file("file"))?;
    same("content", read_all(&file)?, b"newer".to_vec())?;
    let left = works("opening what was renamed", pair.a.open_file("file.new"))?;
    same("bytes left there", works("length", left.len())?, 0)
}

pub(super) async fn a_removed_file_lives_until_it_is_closed<H: Host>(pair: Pair<H>) -> Finding {
    let old = made(&pair.a, "file", b"old")?;
    works("removing", pair.a.remove_file("file"))?;
    let new = works("opening the name", pair.a.open_file("file"))?;
    same("bytes under the name", works("length", new.len())?, 0)?;
    same("content", read_all(&old)?, b"old".to_vec())
}

pub(super) async fn what_is_not_there_is_not_renamed_or_removed<H: Host>(pair: Pair<H>) -> Finding {
    let renamed = pair.a.rename_file("nothing", "something");
    fails("renaming nothing", renamed, ErrorKind::NotFound)?;
    let removed = pair.a.remove_file("nothing");
    fails("removing nothing", removed, ErrorKind::NotFound)
}

pub(super) async fn a_name_cannot_leave_the_folder<H: Host>(pair: Pair<H>) -> Finding {
    for name in ["", "..", "../file", "/file", "a/b"] {
        let what = format!("opening {name:?}");
        fails(&what, pair.a.open_file(name), ErrorKind::InvalidInput)?;
    }
    drop(made(&pair.a, "file", b"x")?);
    let renamed = pair.a.rename_file("file", "../file");
    fails("renaming to ../file", renamed, ErrorKind::InvalidInput)
}

pub(super) async fn each_machine_has_files_of_its_own<H: Host>(pair: Pair<H>) -> Finding {
    let ours = made(&pair.a, "file", b"a's")?;
    let theirs = made(&pair.b, "file", b"b's own")?;
    same("content", read_all(&ours)?, b"a's".to_vec())?;
    same("content", read_all(&theirs)?, b"b's own".to_vec())
}

pub(super) async fn blocking_work_gives_its_result_while_others_go_on<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let host = pair.a.clone();
    let work = pair.a.run_blocking(move || {
        let file = made(&host, "file", b"from the work")?;
        read_all(&file)
    });
    let sleep = pair.a.sleep_until(pair.a.now() + Duration::from_millis(1));
    let both = futures_util::future::join(work, sleep);
    let (content, ()) = soon(&pair.a, "the work", both).await?;
    same("content", content?, b"from the work".to_vec())
}
