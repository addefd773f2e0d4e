//! `segue certs trust` and `untrust`: the local CA in trust stores of this machine.

use serde_json::{Value, json};

use super::{
    Exit,
    attach::unconfirmed,
    certs::Place,
    certs_flags::{CertsTrustFlags, CertsUntrustFlags, StoreName},
    certs_store::{Held, Store},
    command::Manner,
    talk::{Form, Talk},
};
use crate::{
    clock::Clock,
    tls::{Root, Standing},
};

/// Puts every root that apps should trust now into the stores. What is there already stays.
pub fn trust(manner: &Manner, flags: &CertsTrustFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let dir = match Place::find(manner, flags.dir.clone(), talk).and_then(|place| place.authority(talk)) {
        Ok(dir) => dir,
        Err(exit) => return Ok(exit),
    };
    let standing = Standing::read(&dir, Clock::system().now())?;
    let stores = stores(&flags.stores)?;
    let mut plans = Vec::new();
    for store in &stores {
        let held = store.held()?;
        let is_held = |root: &&Root| held.iter().any(|held| held.root.fingerprint == root.fingerprint);
        let (present, missing): (Vec<&Root>, Vec<&Root>) = standing.roots.iter().partition(is_held);
        plans.push((store, present, missing));
    }
    if !flags.dry_run && plans.iter().any(|(.., missing)| !missing.is_empty()) {
        let words: Vec<&str> = plans.iter().filter(|(.., missing)| !missing.is_empty()).map(|(store, ..)| store.word()).collect();
        let question =
            format!("Let everything that uses the trust store {} take segue for {}?", words.join(" and "), standing.names.join(", "));
        if let Some(exit) = unconfirmed(&question, flags.yes, talk)? {
            return Ok(exit);
        }
        for (store, _, missing) in plans.iter().filter(|(.., missing)| !missing.is_empty()) {
            store.add(missing)?;
        }
    }
    let verb = if flags.dry_run { "would be put in" } else { "put in" };
    let mut lines = Vec::new();
    for (store, present, missing) in &plans {
        lines.extend(present.iter().map(|root| format!("{}: there already: {}", store.word(), named(root))));
        lines.extend(missing.iter().map(|root| format!("{}: {verb}: {} ({})", store.word(), named(root), store.place(root))));
    }
    let object = |(store, present, missing): &(&Store, Vec<&Root>, Vec<&Root>)| {
        let prints = |roots: &[&Root]| roots.iter().map(|root| root.fingerprint.clone()).collect::<Vec<_>>();
        json!({ "store": store.word(), "present": prints(present), "added": prints(missing) })
    };
    tell(talk, "segue.certs-trust/v1", flags.dry_run, &plans.iter().map(object).collect::<Vec<_>>(), lines)
}

/// Takes roots of segue out of the stores, and nothing else.
pub fn untrust(manner: &Manner, flags: &CertsUntrustFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let pick = match Pick::of(manner, flags, talk)? {
        Ok(pick) => pick,
        Err(exit) => return Ok(exit),
    };
    let mut plans: Vec<(Store, Vec<Held>)> = Vec::new();
    for store in stores(&flags.stores)? {
        let held = store.held()?.into_iter().filter(|held| pick.takes(&held.root)).collect();
        plans.push((store, held));
    }
    let count: usize = plans.iter().map(|(_, held)| held.len()).sum();
    if !flags.dry_run && count > 0 {
        let question = format!("Take {count} of segue's roots out? Apps that trust segue by them will refuse it.");
        if let Some(exit) = unconfirmed(&question, flags.yes, talk)? {
            return Ok(exit);
        }
        for (store, held) in plans.iter().filter(|(_, held)| !held.is_empty()) {
            store.remove(&held.iter().collect::<Vec<_>>())?;
        }
    }
    let verb = if flags.dry_run { "would be taken out" } else { "taken out" };
    let mut lines = Vec::new();
    for (store, held) in &plans {
        if held.is_empty() {
            lines.push(format!("{}: nothing of that is there", store.word()));
        }
        lines.extend(held.iter().map(|held| format!("{}: {verb}: {} ({})", store.word(), named(&held.root), held.name)));
    }
    let object = |(store, held): &(Store, Vec<Held>)| json!({ "store": store.word(), "removed": held.iter().map(|held| held.root.fingerprint.clone()).collect::<Vec<_>>() });
    tell(talk, "segue.certs-untrust/v1", flags.dry_run, &plans.iter().map(object).collect::<Vec<_>>(), lines)
}

/// Which roots are to go.
enum Pick {
    /// Those with these fingerprints.
    Of(Vec<String>),
    /// Those whose fingerprint begins so, in lower case and without colons.
    Like(String),
    /// All of segue.
    All,
}

impl Pick {
    fn of(manner: &Manner, flags: &CertsUntrustFlags, talk: &Talk) -> anyhow::Result<Result<Self, Exit>> {
        if flags.all {
            return Ok(Ok(Self::All));
        }
        if let Some(fingerprint) = &flags.fingerprint {
            let digits = digits(fingerprint);
            if digits.len() < DIGITS_MIN || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                talk.error(&anyhow::anyhow!(
                    "--fingerprint takes eight hexadecimal digits or more, as `segue certs status` shows them\n  Nothing was changed."
                ));
                return Ok(Err(Exit::Usage));
            }
            return Ok(Ok(Self::Like(digits)));
        }
        let dir = match Place::find(manner, flags.dir.clone(), talk).and_then(|place| place.authority(talk)) {
            Ok(dir) => dir,
            Err(exit) => return Ok(Err(exit)),
        };
        let standing = Standing::read(&dir, Clock::system().now())?;
        Ok(Ok(Self::Of(standing.roots.into_iter().map(|root| root.fingerprint).collect())))
    }

    fn takes(&self, root: &Root) -> bool {
        match self {
            Self::Of(fingerprints) => fingerprints.contains(&root.fingerprint),
            Self::Like(begin) => digits(&root.fingerprint).starts_with(begin),
            Self::All => true,
        }
    }
}

fn digits(fingerprint: &str) -> String {
    fingerprint.chars().filter(|letter| *letter != ':').collect::<String>().to_ascii_lowercase()
}

fn stores(names: &[StoreName]) -> anyhow::Result<Vec<Store>> {
    if !names.is_empty() {
        return names.iter().map(|name| Store::named(*name)).collect();
    }
    let stores = Store::all();
    if stores.is_empty() {
        anyhow::bail!(
            "this machine has no trust store that segue knows (Debian's or Alpine's, or an NSS database of yours)\n  Nothing was changed.\n  For one app: segue certs export --for node (or another runtime)"
        );
    }
    Ok(stores)
}

fn named(root: &Root) -> String {
    format!("{}, SHA-256 {}", root.subject, root.fingerprint)
}

fn tell(talk: &Talk, schema: &str, dry_run: bool, stores: &[Value], mut lines: Vec<String>) -> anyhow::Result<Exit> {
    if dry_run {
        lines.push("Nothing was changed.".to_owned());
    }
    match talk.form() {
        Form::Json => talk.json(&json!({ "schema": schema, "dry_run": dry_run, "stores": stores }))?,
        Form::Text => talk.result(&lines.join("\n"))?,
    }
    Ok(Exit::Done)
}

const DIGITS_MIN: usize = 8;
