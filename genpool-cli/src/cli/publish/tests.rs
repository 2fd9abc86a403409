use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Makes a draft use a named file, as on file systems without unnamed ones.
fn with_a_name(draft: Draft) -> Draft {
    match draft {
        Draft::File(replacement) => Draft::File(Replacement {
            unnamed: None,
            ..replacement
        }),
        stream => stream,
    }
}

#[test]
fn a_file_is_there_when_it_is_whole() {
    for way in [|draft| draft, with_a_name] {
        let folder = tempfile::tempdir().unwrap();
        let (new, old) = (folder.path().join("new"), folder.path().join("old"));
        fs::write(&old, "longer than before").unwrap();
        let before = fs::metadata(&old).unwrap();
        for path in [&new, &old] {
            let draft = way(Draft::open(path).unwrap());
            assert_eq!(names(folder.path()), ["old"]);
            drop(draft);
        }
        assert_eq!(names(folder.path()), ["old"]);
        let after = fs::metadata(&old).unwrap();
        assert_eq!((before.ino(), before.len()), (after.ino(), after.len()));
        for path in [&new, &old] {
            way(Draft::open(path).unwrap()).publish("content").unwrap();
            assert_eq!(fs::read(path).unwrap(), b"content");
        }
        assert_eq!(names(folder.path()), ["new", "old"]);
    }
}

#[test]
fn permissions_of_the_earlier_file_stay() {
    for way in [|draft| draft, with_a_name] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let usual = fs::metadata(&path).unwrap().permissions();
        for mode in [0o600, 0o640, 0o777] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            way(Draft::open(&path).unwrap()).publish("x").unwrap();
            let found = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(found & 0o7777, mode);
        }
        fs::remove_file(&path).unwrap();
        way(Draft::open(&path).unwrap()).publish("x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions(), usual);
    }
}

#[test]
fn links_stay_links() {
    let folder = tempfile::tempdir().unwrap();
    let [target, link, other] = ["target", "link", "other"].map(|name| folder.path().join(name));
    fs::create_dir(folder.path().join("sub")).unwrap();
    symlink("sub/../target", &link).unwrap();
    symlink("link", &other).unwrap();
    for text in ["to a file that is new", "to one that is there"] {
        assert_eq!(identity(&other).unwrap(), identity(&target).unwrap());
        Draft::open(&other).unwrap().publish(text).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), text);
        assert!(link.is_symlink() && other.is_symlink());
    }
    symlink("circle", folder.path().join("circle")).unwrap();
    assert!(Draft::open(&folder.path().join("circle")).is_err());
}

#[test]
fn what_cannot_be_a_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    for name in ["", ".", "..", "new/", "no/new", "file/new", "file/"] {
        let path = folder.path().join(name);
        assert!(Draft::open(&path).is_err(), "{name}");
    }
    if cfg!(target_os = "linux") {
        let error = Draft::open(Path::new("/proc/new")).err().unwrap();
        assert!(error.to_string().contains("folder"), "{error}");
    }
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
fn a_file_that_is_new_has_one_identity() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| identity(&folder.path().join(name)).unwrap();
    assert_eq!(at("new"), at("./new"));
    assert_ne!(at("new"), at("newer"));
}

#[test]
fn a_bare_name_is_in_the_working_folder() {
    for (path, folder) in [("a", "."), ("a/b", "a"), ("/a", "/"), ("./a", ".")] {
        assert_eq!(folder_of(Path::new(path)), Path::new(folder), "{path}");
    }
}
