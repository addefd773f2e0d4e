//! The README's table of keys is the one that the dashboard works by.

use std::{fs, path::Path};

#[test]
fn the_readme_lists_the_keys_that_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("the README is there");
    let keys = segue::tui::documentation();
    let begin = readme.find("| keys | what they do | where |").expect("the README has a table of keys");
    let end = readme[begin..].find("\n\n").map_or(readme.len(), |end| begin + end + 1);
    let table = &readme[begin..end];
    if std::env::var_os("SEGUE_RECORD").is_some() && table != keys {
        fs::write(&path, readme.replace(table, &keys)).expect("the README can be written");
        return;
    }
    assert_eq!(table, keys, "write it anew with SEGUE_RECORD=1");
}
