#![allow(clippy::unwrap_used)]

use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;

use redb::{ReadableDatabase as _, TableDefinition};

use super::*;

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("table");

fn opened(path: &Path) -> Result<Database, FileError> {
    open(path, 1024 * 1024, |database| {
        let write = database.begin_write()?;
        write.open_table(TABLE)?;
        write.commit()?;
        Ok(())
    })
}

/// A closed file with some hundred pages.
fn filled(directory: &Path) -> PathBuf {
    let path = directory.join("file.redb");
    let database = opened(&path).unwrap();
    for round in 0..20_u64 {
        let write = database.begin_write().unwrap();
        for key in round * 50..round * 50 + 50 {
            write
                .open_table(TABLE)
                .unwrap()
                .insert(key, &[u8::try_from(key % 251).unwrap(); 400][..])
                .unwrap();
        }
        write.commit().unwrap();
    }
    path
}

fn is_damage(error: &FileError, path: &Path) -> bool {
    matches!(error, FileError::Damaged { path: named, why } if named == path && !why.contains('\n'))
}

#[test]
fn a_file_is_made_whole_with_a_durable_name_and_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    disk::watched::begin();
    let path = filled(directory.path());
    assert_eq!(disk::watched::syncs_of(directory.path()), 1);
    let database = opened(&path).unwrap();
    let read = database.begin_read().unwrap().open_table(TABLE).unwrap();
    assert_eq!(read.get(7).unwrap().unwrap().value(), [7; 400]);
    assert_eq!(opened(&path).err(), Some(FileError::InUse { path: path.clone() }));
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        1,
        "something was left beside the file"
    );
}

#[test]
fn several_that_make_it_at_once_have_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file.redb");
    fs::write(directory.path().join("file.redb.new"), "of somebody else").unwrap();
    make(&path, 1024 * 1024, |_| Ok(())).unwrap();
    let first = fs::read(&path).unwrap();
    make(&path, 1024 * 1024, |_| panic!("an existing file is filled again")).unwrap_err();
    make(&path, 1024 * 1024, |_| Ok(())).unwrap();
    assert_eq!(fs::read(&path).unwrap(), first);
}

#[test]
fn an_empty_file_is_no_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file.redb");
    fs::write(&path, "").unwrap();
    for refused in [opened(&path).err(), examine(&path).err()] {
        assert!(is_damage(&refused.unwrap(), &path));
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), 0, "it was begun anew");
}

#[test]
fn a_file_of_somebody_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file.redb");
    fs::write(&path, "no record at all").unwrap();
    assert!(is_damage(&opened(&path).err().unwrap(), &path));
    assert_eq!(fs::read(&path).unwrap(), b"no record at all");
}

/// The file is refused, by [`open`] and by [`examine`], or everything in it is as it was. `true` if
/// it was refused.
fn refused_or_whole(path: &Path, what: &str) -> bool {
    let before = fs::read(path).unwrap();
    let examined = examine(path);
    assert!(fs::read(path).unwrap() == before, "{what}: the look has touched it");
    match opened(path) {
        Err(error) => {
            assert!(is_damage(&error, path), "{what}: {error}");
            assert!(
                examined.is_err_and(|error| is_damage(&error, path)),
                "{what}: only opening sees it"
            );
            true
        }
        Ok(database) => {
            assert!(examined.is_ok(), "{what}: only a look sees it: {examined:?}");
            let read = database.begin_read().unwrap().open_table(TABLE).unwrap();
            for key in 0..1000 {
                let value = read.get(key).unwrap().map(|value| value.value().to_vec());
                assert_eq!(value, Some(vec![u8::try_from(key % 251).unwrap(); 400]), "{what}");
            }
            false
        }
    }
}

#[test]
fn a_cut_file_is_refused_or_lacks_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = filled(directory.path());
    let whole = fs::read(&path).unwrap();
    for cut in
        [1, 8, 64, 320, 4096, 5000, 50_000, whole.len() / 2, whole.len() - 4096, whole.len() - 1]
    {
        fs::write(&path, &whole[..cut]).unwrap();
        let refused = refused_or_whole(&path, &format!("cut at {cut}"));
        assert!(refused || cut > 50_000, "400 kB are not in {cut} bytes");
    }
}

/// A flipped byte never becomes another value or a panic.
#[test]
fn a_flipped_byte_is_never_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = filled(directory.path());
    let whole = fs::read(&path).unwrap();
    let places = (0..whole.len()).step_by(whole.len() / 300);
    let refused = places.filter(|&at| {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, &flipped).unwrap();
        refused_or_whole(&path, &format!("flipped at {at}"))
    });
    assert!(refused.count() > 20, "most of what was flipped is not in use");
}

#[test]
fn a_look_touches_nothing_and_needs_no_rest() {
    let directory = tempfile::tempdir().unwrap();
    let path = filled(directory.path());
    let database = opened(&path).unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(examine(&path), Ok(Examined::Whole(before.len() as u64)), "while it is open");
    assert!(fs::read(&path).unwrap() == before, "the look has written");
    // A copy of the open file is as a killed process would leave it: never closed.
    let copy = directory.path().join("copy.redb");
    fs::write(&copy, &before).unwrap();
    assert_eq!(examine(&copy), Ok(Examined::Whole(before.len() as u64)));
    assert!(fs::read(&copy).unwrap() == before);
    drop(database);
}

/// What looks damaged while a process writes may only be half of what is written, which is no
/// damage to tell of.
#[test]
fn what_changes_meanwhile_is_not_called_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let path = filled(directory.path());
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let seen = Mutex::new(None);
    std::thread::scope(|scope| {
        let file = fs::File::options().write(true).open(&path).unwrap();
        let seen = &seen;
        scope.spawn(move || {
            for second in 0.. {
                if seen.lock().unwrap().is_some() {
                    return;
                }
                file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
            }
        });
        // A writer that the machine leaves no time for has not changed the file.
        let looked =
            (0..1000).map(|_| examine(&path)).find(|looked| *looked == Ok(Examined::Changing));
        *seen.lock().unwrap() = Some(looked);
    });
    assert_eq!(seen.into_inner().unwrap().flatten(), Some(Ok(Examined::Changing)));
    assert!(is_damage(&examine(&path).unwrap_err(), &path), "once it rests");
}

#[test]
fn what_panics_over_a_damaged_page_is_an_error_that_names_the_file() {
    let path = Path::new("/state/record.redb");
    let error = guarded(path, || -> Result<(), FileError> { panic!("page 7") }).unwrap_err();
    assert_eq!(error.to_string(), "/state/record.redb is damaged: page 7");
}

#[test]
fn pages_beside_the_file_hide_those_in_it() {
    let mut file = tempfile::tempfile().unwrap();
    io::Write::write_all(&mut file, &[1; 6000]).unwrap();
    let beside = Beside::new(file.try_clone().unwrap()).unwrap();
    use redb::StorageBackend as _;
    beside.set_len(10_000).unwrap();
    beside.write(4000, &[2; 200]).unwrap();
    beside.write(9000, &[3; 10]).unwrap();
    let mut out = vec![9; 10_000];
    beside.read(0, &mut out).unwrap();
    let expected: Vec<u8> =
        [vec![1; 4000], vec![2; 200], vec![1; 1800], vec![0; 3000], vec![3; 10], vec![0; 990]]
            .concat();
    assert!(out == expected);
    beside.read(9_999, &mut [0; 2]).unwrap_err();
    let mut kept = [0; 6000];
    file.read_exact_at(&mut kept, 0).unwrap();
    assert_eq!(kept, [1; 6000]);
}
