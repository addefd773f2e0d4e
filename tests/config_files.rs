//! The configuration as files: the annotated one, those that must load, and those whose complaints are fixed to the letter.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use segue::{
    config::{self, Config, DataDirectory, Environment, Loaded, Origin, Override, Problems, Severity},
    ingress::OnFull,
    model::{Destination, RateLimit},
    routing::Region,
    tls,
    upstream::{self, Addresses},
};

fn environment() -> Environment {
    [("SEGMENT_WRITE_KEY", "wk_test_segment_9f2c"), ("RUDDER_WRITE_KEY", "wk_test_rudder_77a1"), ("EMPTY", "")].into_iter().collect()
}

fn load(path: impl AsRef<Path>) -> Result<Loaded, Problems> {
    config::load(Some(path.as_ref()), &environment(), &[])
}

fn load_text(text: &str) -> Result<Loaded, Problems> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sidecar.toml");
    fs::write(&path, text).unwrap();
    load(&path)
}

const SOURCE: &str = "[[source]]\nname = \"web-checkout\"\nsegment_write_key = { env = \"SEGMENT_WRITE_KEY\" }\n";

#[test]
fn the_annotated_file_says_the_defaults() {
    let loaded = load("sidecar.toml").unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let (read, default) = (loaded.config, Config::default());
    assert_eq!(read.ingress, default.ingress);
    assert_eq!(read.tls, None);
    assert_eq!(read.journal, default.journal);
    assert_eq!(read.segment, default.segment);
    assert_eq!(read.delivery, default.delivery);
    assert_eq!(read.telemetry, default.telemetry);
    assert_eq!((read.data_directory, read.drain_timeout), (default.data_directory, default.drain_timeout));
    assert_eq!((read.admin, read.kill_file), (default.admin, default.kill_file));
    let rudderstack = upstream::Settings { url: "https://acme.dataplane.rudderstack.com".to_owned(), ..upstream::Settings::default() };
    assert_eq!(read.rudderstack, Some(rudderstack));
    let tls = config::tls_section(Some(Path::new("sidecar.toml")), &environment()).unwrap();
    assert_eq!(tls, tls::Settings::default());
}

#[test]
fn an_ephemeral_directory_gets_more_time_at_a_stop_unless_it_is_said() {
    let seconds = |text: &str| {
        let config = load_text(&format!("{text}\n{SOURCE}")).unwrap().config;
        (config.data_directory, config.drain_timeout.as_secs())
    };
    assert_eq!(seconds("[journal]\nephemeral = true"), (DataDirectory::Ephemeral, 25));
    assert_eq!(seconds("drain_timeout = \"9s\"\n[journal]\nephemeral = true"), (DataDirectory::Ephemeral, 9));
    assert_eq!(seconds("[journal]\nephemeral = false"), (DataDirectory::Lasting, 5));
    let refused = load_text(&format!("[journal]\nephemeral = \"yes\"\n{SOURCE}")).unwrap_err().to_string();
    assert!(refused.contains("`journal.ephemeral` takes true or false, not a text"), "{refused}");
}

#[test]
fn the_annotated_file_has_every_key() {
    let annotated = load("sidecar.toml").unwrap().settings;
    let bare = load_text(SOURCE).unwrap().settings;
    assert!(bare.len() > 60, "{} settings", bare.len());
    let keys = |settings: &[config::Setting]| settings.iter().map(|setting| setting.key.clone()).collect::<BTreeSet<_>>();
    assert!(keys(&annotated).is_superset(&keys(&bare)));
    for setting in &annotated {
        // Keys from variables are written in the file too; their origin is where the value came from.
        assert!(!matches!(setting.origin, Origin::Default), "sidecar.toml lacks `{}`", setting.key);
    }
    for setting in bare.iter().filter(|setting| setting.origin == Origin::Default) {
        let written = annotated.iter().find(|other| other.key == setting.key).unwrap();
        let marked = setting.key == "rudderstack.url";
        assert!(marked || written.value == setting.value, "`{}` is {} by default, not {}", setting.key, setting.value, written.value);
    }
}

#[test]
fn a_first_file_loads() {
    let loaded = load("tests/config/valid/first.toml").unwrap();
    let [source] = loaded.config.sources.as_slice() else { panic!("one source") };
    assert_eq!((source.id.as_str(), source.name.as_str(), source.region), ("web-checkout", "web-checkout", Region::Us));
    assert_eq!(source.segment_keys[0].expose(), "wk_test_segment_9f2c");
    assert_eq!(source.rudderstack_key.as_ref().unwrap().expose(), "wk_test_rudder_77a1");
}

#[test]
fn everything_that_can_be_said_is_heard() {
    let loaded = load("tests/config/valid/two_sources.toml").unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let config = loaded.config;
    assert_eq!(config.journal.dir, Path::new("tests/config/valid/journal"));
    assert_eq!(config.ingress.on_full, OnFull::Answer429);
    assert_eq!(config.ingress.trusted_proxies.len(), 2);
    assert_eq!(config.ingress.public_host.as_deref(), Some("events.acme.example"));
    assert_eq!(config.telemetry.metrics, None);
    assert_eq!((config.segment.us.url.as_str(), config.segment.us.addresses), ("http://127.0.0.1:9001", Addresses::Any));
    assert_eq!(config.segment.eu.addresses, Addresses::PublicOnly);
    assert_eq!(config.rudderstack.unwrap().url, "https://acme.dataplane.example/base");
    assert_eq!(config.delivery.pace.of(Destination::RudderStack).retry_max.as_secs(), 30);
    assert_eq!(config.delivery.pace.of(Destination::Segment).rate_limit.to_string(), "200/s");
    let [web, ios] = config.sources.as_slice() else { panic!("two sources") };
    assert_eq!((web.id.as_str(), web.name.as_str(), web.segment_keys.len()), ("web", "Web checkout", 2));
    assert_eq!(
        (web.route.segment().hundredths(), web.route.rudderstack().hundredths(), web.route.verify().hundredths()),
        (7_500, 5_000, 100)
    );
    let rules: Vec<_> =
        web.rules.iter().map(|rule| (rule.when.to_string(), rule.route.to_string(), rule.route.verify().to_string())).collect();
    let said = |when: &str, route: &str, verify: &str| (when.to_owned(), route.to_owned(), verify.to_owned());
    assert_eq!(
        rules,
        [
            said("app android < 4.12.0", "segment-only", "0%"),
            said(
                "type track|page, event Order *, library analytics-kotlin >= 1, < 2, platform ios",
                "{ segment = \"90%\", rudderstack = \"20%\" }",
                "5%"
            ),
        ]
    );
    assert_eq!(web.rate_limits.rudderstack.to_string(), "50/s");
    assert_eq!((ios.region, ios.rate_limits.segment), (Region::Eu, RateLimit::None));
}

#[test]
fn additions_are_read_in_the_order_of_names() {
    let loaded = load("tests/config/valid/additions/sidecar.toml").unwrap();
    let files: Vec<_> = loaded.files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(files, ["sidecar.toml", "10-disk.toml", "20-ios.toml"]);
    assert_eq!(loaded.config.journal.size_max.to_string(), "4GiB");
    let names: Vec<_> = loaded.config.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["web", "ios"]);
}

#[test]
fn every_wrong_file_is_told_to_the_letter() {
    let mut wrong = Vec::new();
    for case in invalid_cases() {
        let problems = load(&case).expect_err(&case.display().to_string());
        let told = format!("{problems}\n");
        assert!(!told.contains("must_not_be_shown"), "{}: shows a key:\n{told}", case.display());
        let expected = expectation(&case);
        // To write the expectations of new cases: WRITE_EXPECTATIONS=1, then read them.
        if std::env::var_os("WRITE_EXPECTATIONS").is_some() {
            fs::write(&expected, &told).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != told {
            wrong.push(format!("{}:\n{told}", expected.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn invalid_cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir("tests/config/invalid").unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "toml"));
    cases.sort();
    assert!(cases.len() > 15, "{} cases", cases.len());
    cases.into_iter().map(|path| if path.is_dir() { path.join("sidecar.toml") } else { path }).collect()
}

fn expectation(case: &Path) -> PathBuf {
    if case.ends_with("sidecar.toml") { case.parent().unwrap().with_extension("txt") } else { case.with_extension("txt") }
}

#[cfg(unix)]
#[test]
fn a_key_file_is_for_one_user_and_loses_its_line_end() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let directory = tempfile::tempdir().unwrap();
    let (config, key) = (directory.path().join("sidecar.toml"), directory.path().join("segment.key"));
    fs::write(&config, "[[source]]\nname = \"web\"\nsegment_write_key = { file = \"segment.key\" }\n").unwrap();
    fs::write(&key, "wk_test_from_a_file_1\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(load(&config).unwrap().config.sources[0].segment_keys[0].expose(), "wk_test_from_a_file_1");

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let told = load(&config).unwrap_err().to_string();
    assert!(told.contains("can be read by every user of this machine (mode 0644)") && told.contains("SG0152"), "{told}");

    // As Kubernetes mounts it: a link to a file of the mount.
    fs::rename(&key, directory.path().join("mounted")).unwrap();
    symlink("mounted", &key).unwrap();
    assert!(load(&config).is_ok());
}

#[test]
fn what_is_allowed_but_odd_is_a_warning() {
    let loaded = load_text("listen = \"0.0.0.0:8088\"\n[rudderstack]\nurl = \"http://acme.example\"\n").unwrap();
    let codes: Vec<_> = loaded.warnings.list().iter().map(|problem| problem.code.to_string()).collect();
    assert_eq!(codes, ["SG0140", "SG0112", "SG0161"]);
    assert_eq!(loaded.warnings.count(Severity::Error), 0);
}

#[test]
fn a_flag_wins_over_the_file_and_is_checked_like_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sidecar.toml");
    fs::write(&path, format!("drain_timeout = \"1s\"\n{SOURCE}")).unwrap();
    let flag = |value: &str| Override { key: "drain_timeout", value: value.to_owned(), origin: Origin::Flag("--drain-timeout".to_owned()) };
    let loaded = config::load(Some(&path), &environment(), &[flag("25s")]).unwrap();
    assert_eq!(loaded.config.drain_timeout.as_secs(), 25);
    let setting = loaded.settings.iter().find(|setting| setting.key == "drain_timeout").unwrap();
    assert_eq!((setting.value.as_str(), setting.origin.to_string().as_str()), ("25s", "flag --drain-timeout"));
    let told = config::load(Some(&path), &environment(), &[flag("25")]).unwrap_err().to_string();
    assert!(told.starts_with("error: flag --drain-timeout: `drain_timeout`: `25` is no time"), "{told}");
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let told = load("no/such/file.toml").unwrap_err().to_string();
    assert!(told.starts_with("error: no/such/file.toml cannot be read: ") && told.contains("segue config init"), "{told}");
}

#[test]
fn no_setting_shows_a_key() {
    let loaded = load("tests/config/valid/two_sources.toml").unwrap();
    let shown = format!("{:?}{:?}", loaded.settings, loaded.config);
    for key in ["wk_test_new_key", "wk_test_old_key", "wk_test_rudder", "wk_test_segment"] {
        assert!(!shown.contains(key), "{key}");
    }
    assert!(loaded.settings.iter().any(|setting| setting.key == "source.Web checkout.rudderstack_write_key" && setting.value == "...0003"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_text_makes_it_panic_or_show_a_key(
        parts in proptest::collection::vec(proptest::prop_oneof![
            proptest::strategy::Just("[[source]]\n".to_owned()),
            proptest::strategy::Just("segment_write_key = ".to_owned()),
            proptest::strategy::Just("rudderstack_writekey = ".to_owned()),
            proptest::strategy::Just("\"wk_test_must_not_be_shown\"".to_owned()),
            proptest::strategy::Just("\"wk_test_must_not_be_shown\n".to_owned()),
            proptest::strategy::Just("name = \"web\"\n".to_owned()),
            proptest::strategy::Just("\n".to_owned()),
            proptest::strategy::Just("{ env = \"X\" ".to_owned()),
            proptest::strategy::Just("segment_write_key = wk_test_must_not_be_shown\n".to_owned()),
            proptest::strategy::Just("\"\"\"".to_owned()),
            proptest::strategy::Just("[\u{e9}".to_owned()),
            // No "=" and no ".": what stands before them is the name of a key, and names are shown.
            "[ -\\-/-<>-~\\n\\t\u{e9}]{0,12}",
        ], 0..24),
    ) {
        if let Err(problems) = load_text(&parts.concat()) {
            let told = problems.to_string();
            proptest::prop_assert!(!told.contains("must_not_be_shown"), "{told}");
        }
    }
}

/// The validator that comes with the tester of APIs, which `scripts/test` puts under target/.
fn validator() -> Option<PathBuf> {
    let dir = std::env::var_os("SEGUE_TEST_SDKS").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sdk"), Into::into);
    let python = dir.join("schemathesis/bin/python");
    if python.exists() {
        return Some(python);
    }
    println!("skipped: no validator under {}; scripts/test installs it", dir.display());
    assert!(std::env::var_os("CI").is_none(), "{} is missing, and CI is set; run scripts/test", python.display());
    None
}

/// Names each file with what a validator of JSON Schema has against it: nothing, or the first complaint.
const VALIDATE: &str = "
import json, sys, tomllib, jsonschema_rs
validator = jsonschema_rs.validator_for(json.load(sys.stdin))
for path in sys.argv[1:]:
    errors = list(validator.iter_errors(tomllib.load(open(path, 'rb'))))
    print(path, errors[0].message if errors else 'OK', sep='\\t')
";

#[test]
fn the_schema_takes_what_the_reader_takes_and_refuses_what_it_can_see() {
    let Some(python) = validator() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let right = [
        "sidecar.toml",
        "tests/config/valid/first.toml",
        "tests/config/valid/two_sources.toml",
        "tests/config/valid/additions/sidecar.toml",
        "tests/config/valid/additions/conf.d/10-disk.toml",
        "tests/config/valid/additions/conf.d/20-ios.toml",
    ];
    // Keys, types, units and words; what hangs together across keys only the reader knows.
    let wrong = ["bad_keys", "bare_numbers", "later", "rules", "source_names", "source_table", "unknown_keys", "wrong_types"];
    let wrong = wrong.map(|name| format!("tests/config/invalid/{name}.toml"));
    let mut child = std::process::Command::new(python)
        .args(["-c", VALIDATE])
        .args(right)
        .args(&wrong)
        .current_dir(root)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), segue::config::schema().to_string().as_bytes()).unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    println!("{said}");
    let verdict = |path: &str| said.lines().find_map(|line| line.strip_prefix(path)?.strip_prefix('\t')).unwrap_or("not looked at");
    for path in right {
        assert_eq!(verdict(path), "OK", "{path}");
    }
    for path in &wrong {
        assert!(!["OK", "not looked at"].contains(&verdict(path)), "{path}");
    }
}
