//! What is kept is there after a restart, whole or not at all.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn settings_at(site: Site) -> Address {
    Address { site, path: "/v1/projects/wk_test_web/settings".to_owned() }
}

fn bundle(number: usize) -> Address {
    Address { site: Site::Cdn, path: format!("/analytics-next/bundles/{number}.bundle.js") }
}

fn page(at: i64, body: impl Into<Bytes>) -> Page {
    Page {
        fetched_at: WallTime::from_millis(at),
        encoding: Encoding::Identity,
        content_type: Some("application/json".to_owned()),
        cache_control: None,
        etag: Some("\"1\"".to_owned()),
        last_modified: None,
        body: body.into(),
    }
}

#[test]
fn a_page_is_there_after_a_restart_and_stands_in_for_the_other_hosts() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("pages");
    let shelf = Shelf::open(Some(pages.clone()));
    let kept = Page { encoding: Encoding::Gzip, ..page(1_000, "{}\n\u{2028}") };
    assert!(shelf.put(&settings_at(Site::Cdn), &kept, Room::MayBeMade).unwrap());
    let again = Shelf::open(Some(pages.clone()));
    for site in [Site::Cdn, Site::CdnSettings] {
        assert_eq!(again.get(&settings_at(site)).unwrap(), kept);
    }
    assert!(again.has(&settings_at(Site::Cdn)) && !again.has(&settings_at(Site::CdnSettings)));
    assert_eq!(again.get(&bundle(1)), None);
    let modes = fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().metadata().unwrap().permissions().mode() & 0o777);
    assert_eq!(modes.collect::<Vec<_>>(), [0o600]);
    assert_eq!(fs::metadata(&pages).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn what_comes_unchanged_is_written_once_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(Some(dir.path().to_owned()));
    let fetched = |at, body: &'static str| {
        shelf.put(&bundle(1), &page(at, body), Room::MayBeMade).unwrap();
        shelf.list()[0].fetched_at.as_millis()
    };
    assert_eq!(
        [fetched(0, "a"), fetched(STALE_MS - 1, "a"), fetched(STALE_MS, "a"), fetched(STALE_MS + 1, "b")],
        [0, 0, STALE_MS, STALE_MS + 1]
    );
}

#[test]
fn a_damaged_file_is_no_page_and_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let name = {
        let shelf = Shelf::open(Some(path.clone()));
        shelf.put(&bundle(1), &page(1, "a body"), Room::MayBeMade).unwrap();
        fs::read_dir(&path).unwrap().next().unwrap().unwrap().path()
    };
    let whole = fs::read(&name).unwrap();
    for place in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[place / 8] ^= 1 << (place % 8);
        fs::write(&name, &bytes).unwrap();
        let shelf = Shelf::open(Some(path.clone()));
        assert_eq!(shelf.get(&bundle(1)), None, "bit {place}");
        assert!(!shelf.has(&bundle(1)) && shelf.list().is_empty(), "bit {place}");
        fs::write(&name, &whole).unwrap();
    }
    fs::write(path.join("half.tmp"), "segue-page").unwrap();
    assert_eq!(Shelf::open(Some(path.clone())).list().len(), 1);
    assert!(!path.join("half.tmp").exists());
}

#[test]
fn the_bundle_that_nobody_asked_for_longest_goes_and_settings_stay() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(Some(dir.path().to_owned()));
    let large = Bytes::from(vec![b'x'; (BYTES_MAX / 4) as usize]);
    assert!(shelf.put(&settings_at(Site::Cdn), &page(1, "{}"), Room::MayBeMade).unwrap());
    for number in 0..3 {
        assert!(shelf.put(&bundle(number), &page(1, large.clone()), Room::MayBeMade).unwrap());
    }
    assert!(shelf.get(&bundle(0)).is_some());
    assert!(!shelf.put(&bundle(3), &page(1, large.clone()), Room::AsItIs).unwrap(), "somebody lives on what is there");
    assert!(shelf.put(&bundle(3), &page(1, large), Room::MayBeMade).unwrap());
    let there: Vec<bool> = (0..4).map(|number| shelf.has(&bundle(number))).collect();
    assert_eq!((there, shelf.has(&settings_at(Site::Cdn))), (vec![true, false, true, true], true));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
}

#[test]
fn a_disk_that_takes_nothing_leaves_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(Some(dir.path().join("pages")));
    assert!(shelf.put(&bundle(1), &page(1, "old"), Room::MayBeMade).unwrap());
    let place = fs::read_dir(dir.path().join("pages")).unwrap().next().unwrap().unwrap().path();
    // Whatever is written beside cannot be: a directory stands there.
    fs::create_dir(place.with_extension("tmp")).unwrap();
    assert!(shelf.put(&bundle(1), &page(2, "new"), Room::MayBeMade).is_err());
    assert_eq!((shelf.get(&bundle(1)).unwrap().body, shelf.failures()), (Bytes::from("old"), 1));
    let nowhere = Shelf::open(None);
    assert!(!nowhere.put(&bundle(1), &page(1, "x"), Room::MayBeMade).unwrap() && nowhere.get(&bundle(1)).is_none());
}

#[test]
fn a_flood_of_fetches_gets_few_turns_and_a_page_one_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Arc::new(Shelf::open(Some(dir.path().to_owned())));
    let now = WallTime::from_millis(1_000_000);
    let turns: Vec<_> = (0..100).filter_map(|number| shelf.turn(&bundle(number), now)).collect();
    assert_eq!(turns.len(), TURNS_MAX);
    assert!(shelf.turn(&bundle(0), now).is_none());
    drop(turns);
    let turn = shelf.turn(&bundle(0), now).unwrap();
    assert!(shelf.turn(&bundle(0), now).is_none(), "one at a time");
    assert!(turn.put(&page(now.as_millis(), "x"), Room::MayBeMade).unwrap());
    assert!(shelf.turn(&bundle(0), now).is_none(), "it has just come");
    assert!(shelf.turn(&bundle(0), now.plus_millis(FRESH_MS)).is_some());
    assert_eq!((shelf.size(&bundle(0)) > Some(0), shelf.size(&bundle(1))), (true, None));
}
