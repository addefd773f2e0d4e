//! The commands as processes: what they print where, and how they end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::Command,
    thread,
};

/// How a command ended.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs segue in a directory with nothing in its environment but what the test gives.
fn segue_in(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
    command.current_dir(directory).args(arguments).env_clear().envs(variables.iter().copied());
    let output = command.output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn segue(arguments: &[&str]) -> Ended {
    segue_in(Path::new("."), arguments, &[])
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

const KEYS: [(&str, &str); 2] = [("SEGMENT_WRITE_KEY", "wk_test_segment_9f2c"), ("RUDDER_WRITE_KEY", "wk_test_rudder_77a1")];

#[test]
fn an_unknown_command_gets_the_nearest_one() {
    let ended = segue(&["rnu"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    let want = "error: there is no command `rnu`; did you mean `run`?\n  \
                Commands: run, demo, top, check, certs, config, health, status, versions, predictions, drain, route, replay, diff, trace, ledger, certificate, webhook, kill, audit, reload, hold, limit, doctor, source, purge, unpark, quarantine, journal, version, completions\n";
    assert_eq!(ended.stderr, want);
    assert!(segue(&["xyzzy"]).stderr.starts_with("error: there is no command `xyzzy`\n"));
}

#[test]
fn a_bare_number_is_refused_with_its_units() {
    let ended = segue(&["run", "--drain-timeout", "30"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("like 500ms, 30s, 5m, 6h or 2d"), "{}", ended.stderr);
}

#[test]
fn a_wrong_configuration_starts_nothing() {
    let ended = segue_in(Path::new("."), &["run", "--config", "tests/config/invalid/unknown_keys.toml"], &KEYS);
    assert_eq!((ended.code, ended.stdout.as_str()), (78, ""));
    assert_eq!(ended.stderr, fs::read_to_string("tests/config/invalid/unknown_keys.txt").unwrap());
}

#[test]
fn check_prints_the_problems_as_its_result() {
    let ended = segue_in(Path::new("."), &["check", "tests/config/invalid/unknown_keys.toml"], &KEYS);
    assert_eq!((ended.code, ended.stderr.as_str()), (78, ""));
    assert_eq!(ended.stdout, fs::read_to_string("tests/config/invalid/unknown_keys.txt").unwrap());

    let coloured = segue(&["check", "--color", "always", "tests/config/invalid/unknown_keys.toml"]).stdout;
    assert!(coloured.starts_with("\u{1b}[1;31merror:\u{1b}[0m tests/config"), "{coloured}");
}

#[test]
fn check_says_yes_to_a_right_file_and_no_to_warnings_when_strict() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join("sidecar.toml"),
        "[journal]\ndir = \"journal\"\n[[source]]\nname = \"web\"\nsegment_write_key = \"wk_test_web_00001\"\n",
    )
    .unwrap();
    #[cfg(unix)]
    fs::set_permissions(directory.path().join("sidecar.toml"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let ended = segue_in(directory.path(), &["check", "--strict"], &[]);
    let hours = "  journal: 7680MiB hold 18 h at 100/s, 1.8 h at 1000/s events of 1 KB, if nothing can be delivered\n";
    let text = format!("ok: sidecar.toml\n  web: Segment 100%, RudderStack 0%\n{hours}");
    assert_eq!((ended.code, ended.stdout), (0, text));
    assert!(!directory.path().join("journal").exists(), "a check changes nothing");

    let odd = directory.path().join("odd.toml");
    fs::write(&odd, "listen = \"0.0.0.0:8088\"\n[[source]]\nname = \"web\"\nsegment_write_key = \"wk_test_web_00001\"\n").unwrap();
    let odd = odd.to_str().unwrap();
    assert_eq!(segue(&["check", "--offline", odd]).code, 0);
    let strict = segue(&["check", "--offline", "--strict", odd]);
    assert_eq!(strict.code, 3);
    assert!(strict.stdout.contains("SG0112"), "{}", strict.stdout);
    assert_eq!(segue_in(Path::new("."), &["check", "--offline", odd], &[("SEGUE_CHECK_STRICT", "true")]).code, 3);
}

#[test]
fn check_looks_at_the_machine_unless_it_is_told_not_to() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a-file");
    fs::write(&file, "").unwrap();
    fs::write(directory.path().join("sidecar.toml"), "[journal]\ndir = \"a-file/journal\"\n").unwrap();
    let ended = segue_in(directory.path(), &["check"], &[]);
    assert_eq!(ended.code, 78);
    assert!(ended.stdout.contains("SG0131") && ended.stdout.contains("a-file/journal cannot be made"), "{}", ended.stdout);
    assert_eq!(segue_in(directory.path(), &["check", "--offline"], &[]).code, 0);
}

#[test]
fn check_speaks_json_with_the_same_exit_code() {
    let ended = segue_in(Path::new("."), &["check", "--json", "tests/config/invalid/unknown_keys.toml"], &KEYS);
    assert_eq!(ended.code, 78);
    let report = json(&ended.stdout);
    assert_eq!((&report["schema"], &report["ok"], &report["errors"]), (&"segue.check/v1".into(), &false.into(), &3.into()));
    let problem = &report["problems"][2];
    assert_eq!((&problem["code"], &problem["line"], &problem["column"]), (&"SG0103".into(), &8.into(), &1.into()));
    assert_eq!(problem["fix"], "did you mean `rudderstack_write_key`?");
    assert!(!ended.stdout.contains("must_not_be_shown"));
}

#[test]
fn every_code_is_explained() {
    let list = segue(&["check", "--explain"]).stdout;
    assert!(list.lines().count() > 25, "{list}");
    for line in list.lines() {
        let (code, title) = line.split_once("  ").unwrap();
        let explained = segue(&["check", "--explain", code]);
        assert_eq!(explained.code, 0);
        assert!(explained.stdout.starts_with(&format!("{code}: {title}\n\n")), "{}", explained.stdout);
    }
    assert_eq!(segue(&["check", "--explain", "SG9999"]).code, 2);
}

#[test]
fn a_first_configuration_is_written_once_and_is_right() {
    let directory = tempfile::tempdir().unwrap();
    let first = segue_in(directory.path(), &["config", "init"], &[]);
    assert_eq!((first.code, first.stdout.as_str()), (0, "sidecar.toml\n"));
    let written = fs::read_to_string(directory.path().join("sidecar.toml")).unwrap();
    assert_eq!(written.lines().count(), 8);

    let second = segue_in(directory.path(), &["config", "init"], &[]);
    assert_eq!(second.code, 1);
    assert!(second.stderr.starts_with("error: sidecar.toml exists and was left as it is"), "{}", second.stderr);
    assert_eq!(fs::read_to_string(directory.path().join("sidecar.toml")).unwrap(), written);

    assert_eq!(segue_in(directory.path(), &["check", "--offline", "--strict"], &KEYS).code, 0);
    assert_eq!(segue_in(directory.path(), &["check", "--offline"], &[]).code, 78);
}

#[test]
fn config_show_says_where_each_value_came_from_and_shows_no_key() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(segue_in(directory.path(), &["config", "init"], &[]).code, 0);
    let variables = [KEYS[0], KEYS[1], ("RUST_LOG", "debug"), ("SEGUE_RUN_DRAIN_TIMEOUT", "25s")];
    let ended = segue_in(directory.path(), &["config", "show", "--json"], &variables);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!ended.stdout.contains("wk_test"));
    let shown = json(&ended.stdout);
    assert_eq!(shown["schema"], "segue.config/v1");
    let find = |key: &str| {
        let setting = shown["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == key).unwrap();
        (setting["value"].as_str().unwrap().to_owned(), setting["origin"].as_str().unwrap().to_owned())
    };
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(find("listen"), pair("127.0.0.1:8088", "sidecar.toml:1"));
    assert_eq!(find("journal.size_max"), pair("8GiB", "default"));
    assert_eq!(find("drain_timeout"), pair("25s", "env SEGUE_RUN_DRAIN_TIMEOUT"));
    assert_eq!(find("log.level"), pair("debug", "env RUST_LOG"));
    assert_eq!(find("source.web-checkout.segment_write_key"), pair("...9f2c", "env SEGMENT_WRITE_KEY"));

    let flagged = segue_in(directory.path(), &["config", "show", "-q"], &variables).stdout;
    assert!(flagged.lines().any(|line| line.split_whitespace().eq(["log.level", "warn", "flag", "-q"])), "{flagged}");
}

#[test]
fn the_configuration_is_searched_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let name = |file: &str, source: &str| {
        let text = format!("[[source]]\nname = \"{source}\"\nsegment_write_key = \"wk_test_{source}_0001\"\n");
        fs::write(directory.path().join(file), text).unwrap();
    };
    name("sidecar.toml", "here");
    name("variable.toml", "variable");
    name("flag.toml", "flag");
    let variable = [("SEGUE_CONFIG", "variable.toml")];
    let source = |arguments: &[&str], variables: &[(&str, &str)]| segue_in(directory.path(), arguments, variables).stdout;
    assert!(source(&["check", "--offline"], &[]).contains("here: Segment"));
    assert!(source(&["check", "--offline"], &[("SEGUE_CONFIG", "")]).contains("here: Segment"));
    assert!(source(&["check", "--offline"], &variable).contains("variable: Segment"));
    assert!(source(&["check", "--offline", "--config", "flag.toml"], &variable).contains("flag: Segment"));
    assert!(source(&["check", "--offline", "flag.toml"], &variable).contains("flag: Segment"));
}

#[test]
fn version_and_completions_are_for_machines() {
    let version = json(&segue(&["version", "--json"]).stdout);
    assert_eq!((&version["schema"], &version["version"]), (&"segue.version/v1".into(), &env!("CARGO_PKG_VERSION").into()));
    assert_eq!(segue(&["version"]).stdout.split_whitespace().take(2).collect::<Vec<_>>(), ["segue", env!("CARGO_PKG_VERSION")]);
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let ended = segue(&["completions", shell]);
        assert_eq!(ended.code, 0);
        assert!(ended.stdout.contains("drain-timeout"), "{shell}");
    }
}

#[test]
fn health_is_the_answer_of_the_metrics_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answering = thread::spawn(move || {
        for status in ["200 OK", "503 Service Unavailable", "200 OK"] {
            let (mut connection, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                connection.read_exact(&mut byte).unwrap();
                asked.push(byte[0]);
            }
            write!(connection, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
            let head = String::from_utf8(asked).unwrap();
            assert!(head.starts_with("GET /readyz HTTP/1.1\r\n") || head.starts_with("GET /healthz HTTP/1.1\r\n"), "{head}");
        }
    });
    let ask = |probe: &str| segue(&["health", probe, "--metrics", &address, "--timeout", "10s"]);
    let (ready, unready, live) = (ask("ready"), ask("ready"), ask("live"));
    answering.join().unwrap();
    assert_eq!((ready.code, ready.stdout.as_str()), (0, "ok\n"));
    assert_eq!((unready.code, unready.stdout.as_str()), (1, "answered 503\n"));
    assert_eq!(live.code, 0);
    let dead = ask("live");
    assert_eq!(dead.code, 1);
    assert!(dead.stdout.starts_with(&format!("no answer from {address}")), "{}", dead.stdout);
}

#[test]
fn health_waits_no_longer_than_it_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Connections are taken by the kernel and never answered.
    let ended = segue(&["health", "live", "--metrics", &address, "--timeout", "50ms"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.starts_with("no answer from"), "{}", ended.stdout);
}

#[test]
fn a_local_ca_is_made_where_the_configuration_says() {
    let directory = tempfile::tempdir().unwrap();
    let config = "listen_tls = \"127.0.0.1:0\"\n[tls]\ndir = \"ca\"\nnames = [\"api.segment.io\"]\n[[source]]\nname = \"web\"\nsegment_write_key = \"wk_test_web_00001\"\n";
    fs::write(directory.path().join("sidecar.toml"), config).unwrap();
    let before = segue_in(directory.path(), &["check", "--offline"], &[]);
    assert_eq!(before.code, 78);
    assert!(before.stdout.contains("SG0120") && before.stdout.contains("segue certs init"), "{}", before.stdout);

    let made = segue_in(directory.path(), &["certs", "init", "--json"], &[]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let made = json(&made.stdout);
    assert_eq!((&made["root"], &made["names"]), (&"ca/root.pem".into(), &serde_json::json!(["api.segment.io"])));
    assert!(directory.path().join("ca/root.pem").exists());
    assert_eq!(segue_in(directory.path(), &["check", "--offline"], &[]).code, 0);

    let again = segue_in(directory.path(), &["certs", "init"], &[]);
    assert_eq!(again.code, 1, "{}", again.stdout);
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    assert_eq!(segue_in(directory.path(), &["certs", "init", "--force"], &[]).code, 0);
}

/// Files that hold secrets, open to others: what segue owns is refused, what others mounted or wrote is told, each with the way
/// out, by `check` and by `run` alike.
#[cfg(unix)]
#[test]
fn what_others_can_reach_is_told_with_the_command_that_closes_it() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let chmod = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("sidecar.toml");
    fs::write(
        &config,
        "listen = \"127.0.0.1:0\"\nmetrics = \"\"\n[journal]\ndir = \"journal\"\n[[source]]\nname = \"web\"\nsegment_write_key = \"wk_test_web_00001\"\n",
    )
    .unwrap();

    chmod(&config, 0o644);
    let told = segue_in(directory.path(), &["check"], &[]);
    assert_eq!(told.code, 0);
    assert!(told.stdout.contains("SG0154") && told.stdout.contains("chmod 600 sidecar.toml"), "{}", told.stdout);
    assert!(!told.stdout.contains("wk_test"), "{}", told.stdout);
    assert_eq!(segue_in(directory.path(), &["check", "--strict"], &[]).code, 3);
    chmod(&config, 0o600);
    assert_eq!(segue_in(directory.path(), &["check", "--strict"], &[]).code, 0);

    let journal = directory.path().join("journal");
    fs::create_dir(&journal).unwrap();
    chmod(&journal, 0o755);
    for command in [&["check"][..], &["run"][..]] {
        let refused = segue_in(directory.path(), command, &[]);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert_ne!(refused.code, 0, "{said}");
        assert!(said.contains("is open to others (mode 0755)") && said.contains("chmod -R go= "), "{said}");
    }
    chmod(&journal, 0o700);
    assert_eq!(segue_in(directory.path(), &["check", "--strict"], &[]).code, 0);

    // A link in place of a file of ours would let whoever put it there choose what is written to.
    let victim = directory.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, journal.join("journal.id")).unwrap();
    let refused = segue_in(directory.path(), &["run"], &[]);
    assert!(refused.code != 0 && refused.stderr.contains("journal.id is a symbolic link"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

/// A key in the wrong place is the commonest way to show one to a whole team.
#[test]
fn a_key_in_the_wrong_place_is_not_repeated() {
    let key = "wk_test_Canary9f2cA77b";
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("sidecar.toml");
    let source = "[[source]]\nname = \"web\"\n";
    let cases = [
        format!("{source}segment_write_key = {{ env = \"{key}\" }}\n"),
        format!("{source}segment_write_key = {{ file = \"{key}\" }}\n"),
        format!("{source}segment_write_key = [\"{key}\", 3]\n"),
        format!("{source}segment_write_kee = \"{key}\"\n"),
        format!("{source}{key} = \"x\"\nsegment_write_key = \"wk_test_web_00001\"\n"),
        format!("{source}route = \"{key}\"\nsegment_write_key = \"wk_test_web_00001\"\n"),
        format!("{source}segment_write_key = \"wk_test_web_00001\"\nrudderstack_write_key = {key}\n"),
        format!("listen = \"{key}\"\n"),
        format!("[log]\nlevel = \"=,{key}=\"\n"),
        format!("[rudderstack]\nurl = \"https://{key}@acme.example\"\n"),
        format!("[rudderstack]\nurl = \"{key}\"\n"),
        format!("[rudderstack]\nwrite_key = \"{key}\"\n"),
        format!("# {key}\nlisten = 3\n"),
        format!("listen = 3 # {key}\n"),
        format!("{key}\n"),
        format!("\"{key}\n"),
        format!("[{key}]\nx = 1\n"),
        format!("[journal]\nsize_max = \"{key}\"\n"),
    ];
    for case in &cases {
        fs::write(&config, case).unwrap();
        for arguments in [&["check"][..], &["check", "--json"], &["run"], &["config", "show", "--json"]] {
            let ended = segue_in(directory.path(), arguments, &[]);
            assert_ne!(ended.code, 0, "{case}");
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(!said.contains("Canary"), "segue {arguments:?} repeats the key of\n{case}\n{said}");
            assert!(said.contains("SG0"), "{case}\n{said}");
        }
    }
    println!("{} misplaced keys, none repeated", cases.len());
}
