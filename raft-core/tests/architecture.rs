//! ARCHITECTURE.md names every file of the crate, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn architecture_md_names_the_files_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let is_of_path = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let named: BTreeSet<String> = text
        .split(|c| !is_of_path(c))
        .filter(|word| word.starts_with("src/") && word.ends_with(".rs"))
        .map(str::to_owned)
        .collect();

    let mut there = BTreeSet::new();
    let mut folders = vec!["src".to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(root.join(&folder)).unwrap() {
            let item = item.unwrap();
            let name = item.file_name().into_string().unwrap();
            let path = format!("{folder}/{name}");
            if item.file_type().unwrap().is_dir() {
                if name != "tests" {
                    folders.push(path);
                }
            } else if name != "tests.rs" && name.ends_with(".rs") {
                there.insert(path);
            }
        }
    }

    let forgotten: Vec<_> = there.difference(&named).collect();
    assert!(forgotten.is_empty(), "the code map in ARCHITECTURE.md lacks {forgotten:?}: add a line for each");
    let gone: Vec<_> = named.difference(&there).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md names {gone:?}, which aren't there: correct or remove them");
}
