//! Both legs, driven by any order of arrivals, answers and failures.

use std::{
    collections::{HashMap, HashSet},
    io::Read,
    sync::Arc,
    time::Duration,
};

use proptest::{
    prelude::{Strategy, any, prop_assert},
    proptest,
};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Batch,
    chunks::Cut,
    leg::{Cargo, Fate, Leg, Parcel, Refused, Retries},
    packer::Packing,
    records::{Completed, Ends},
    rudderstack::RudderStackLeg,
    segment::SegmentLeg,
};
use crate::{
    dialect,
    journal::{Entry, Position},
    model::{
        BasicAuth, ByteSize, Encoding, Endpoint, Envelope, EnvelopeId, Head, Naming, Origin, Outline, PerDestination, Plan, Reading,
        Revision, Selection, SourceId, WallTime,
    },
    routing::Person,
};

/// One event of a story: whose it is, and whether its destination will refuse it.
#[derive(Debug, Clone, Copy)]
struct Seed {
    person: u8,
    bad: bool,
}

fn entry(number: usize, seeds: &[Seed]) -> Entry {
    let event = |(index, seed): (usize, &Seed)| {
        let (name, person) = (if seed.bad { "Bad" } else { "Fine" }, seed.person);
        format!(r#"{{"type":"track","event":"{name}","anonymousId":"p{person}","messageId":"{number}-{index}"}}"#)
    };
    let events: Vec<_> = seeds.iter().enumerate().map(event).collect();
    let planned = u32::try_from(seeds.len()).unwrap();
    let envelope = Envelope {
        id: EnvelopeId(number as u128),
        source: SourceId::parse("web").unwrap(),
        received_at: WallTime::from_millis(0),
        endpoint: Endpoint::Batch,
        path: "/v1/batch".into(),
        client_ip: None,
        content_type: None,
        user_agent: None,
        retry_count: None,
        basic_auth: BasicAuth::Absent,
        key_print: [0; 8],
        encoding: Encoding::Identity,
        events: planned,
        plan: Plan { revision: Revision(0), events: PerDestination { segment: Selection::All, rudderstack: Selection::All } },
        origin: Origin::Client,
        outline: None,
        body: format!(r#"{{"batch":[{}]}}"#, events.join(",")).into(),
    };
    // Every other record comes from an ingress that has noted where its events stand.
    let outline = number.is_multiple_of(2).then(|| outline(&envelope)).flatten();
    let envelope = Envelope { outline, ..envelope };
    Entry { position: Position { volume: 1, offset: number as u64 }, payload: envelope.encode(), planned }
}

fn outline(envelope: &Envelope) -> Option<Outline> {
    let reading = Reading::of(envelope.endpoint, &envelope.body).unwrap();
    let person = |(index, item): (usize, &_)| {
        let head = Head::of(*item, envelope.endpoint);
        Person::of(head.anonymous_id.as_deref(), head.user_id.as_deref(), &head.message_id(envelope.id, index)).0
    };
    Outline::of(&envelope.body, &reading, reading.items.iter().enumerate().map(person), Naming::All)
}

fn gzip() -> Packing {
    Packing::toward("https://rudderstack.test", &Arc::default())
}

/// The events of a request: (person, (envelope, index), whether it is bad).
type Events = Vec<(String, (usize, usize), bool)>;

fn events(parcel: &Parcel) -> Events {
    let body = match &parcel.cargo {
        Cargo::Envelope(opened) => opened.inflated.to_vec(),
        Cargo::Batch { body, encoding: Encoding::Identity, .. } => body.to_vec(),
        Cargo::Batch { body, encoding: Encoding::Gzip, .. } => {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
            plain
        }
    };
    let body: Value = serde_json::from_slice(&body).unwrap();
    let read = |event: &Value| {
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        let (envelope, index) = text("messageId").split_once('-').map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).unwrap();
        (text("anonymousId"), (envelope, index), text("event") == "Bad")
    };
    body["batch"].as_array().unwrap().iter().map(read).collect()
}

/// What a run of a leg came to.
#[derive(Default)]
struct Story {
    out: Vec<(usize, Events)>,
    busy: HashSet<String>,
    delivered: Vec<(String, (usize, usize))>,
    ends: Ends,
}

impl Story {
    /// Sends one request, when one may go.
    fn send(&mut self, leg: &mut impl Leg, now: Instant) -> bool {
        let Some(parcel) = leg.next_parcel(now, Retries::Go) else { return false };
        let events = events(&parcel);
        assert_eq!(parcel.events as usize, events.len());
        for person in events.iter().map(|(person, ..)| person).collect::<HashSet<_>>() {
            assert!(self.busy.insert(person.clone()), "{person} is out twice");
        }
        self.out.push((parcel.ticket, events));
        true
    }

    /// Answers one of the requests that are out.
    fn answer(&mut self, leg: &mut impl Leg, choice: usize, now: Instant) {
        let (ticket, events) = self.out.swap_remove(choice % self.out.len());
        for (person, ..) in &events {
            self.busy.remove(person);
        }
        let refused = Refused { reason: "bad".into(), status: 400, answer: String::new(), at: WallTime::from_millis(0) };
        let fate = match choice % 5 {
            0 => Fate::Again(now + Duration::from_millis(choice as u64 % 50)),
            1 => Fate::Unsent,
            2 if choice.is_multiple_of(7) => Fate::Divide(Cut::TooLarge, refused),
            _ if events.iter().any(|(.., bad)| *bad) => Fate::Divide(Cut::BadEvent, refused),
            _ => {
                self.delivered.extend(events.into_iter().map(|(person, id, _)| (person, id)));
                Fate::Delivered
            }
        };
        leg.settle(ticket, fate, &mut self.ends);
    }
}

fn run(mut leg: impl Leg, envelopes: &[Vec<Seed>], choices: &[usize]) -> Story {
    let (mut story, mut now, mut arrived) = (Story::default(), Instant::now(), 0);
    for choice in choices {
        now += Duration::from_millis(*choice as u64 % 20);
        match choice % 3 {
            0 if arrived < envelopes.len() => {
                leg.take_in(&entry(arrived, &envelopes[arrived]), WallTime::from_millis(0), &mut story.ends);
                arrived += 1;
            }
            1 => {
                story.send(&mut leg, now);
            }
            _ if !story.out.is_empty() => story.answer(&mut leg, *choice, now),
            _ => {}
        }
    }
    for (number, seeds) in envelopes.iter().enumerate().skip(arrived) {
        leg.take_in(&entry(number, seeds), WallTime::from_millis(0), &mut story.ends);
    }
    for step in 0.. {
        assert!(step < 100_000, "the leg gets stuck");
        now = leg.due(now, Retries::Go).unwrap_or(now).max(now);
        if !story.send(&mut leg, now) {
            if story.out.is_empty() {
                break;
            }
            // Mixed, as a round that repeats itself could refuse the same requests for ever.
            let mixed = (choices[step % choices.len()] + step).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            story.answer(&mut leg, mixed, now);
        }
    }
    assert_eq!((leg.held_bytes(), leg.records()), (0, 0), "nothing stays in memory");
    story
}

/// Checks what holds for every leg: each record ends once and in full, each person's events arrive in order.
fn check(story: &Story, envelopes: &[Vec<Seed>]) {
    let mut tallies = HashMap::new();
    for Completed { position, tally, .. } in &story.ends.complete {
        assert!(tallies.insert(usize::try_from(position.offset).unwrap(), *tally).is_none(), "completed twice");
    }
    for (number, seeds) in envelopes.iter().enumerate() {
        assert_eq!(tallies[&number].total(), seeds.len() as u64, "envelope {number}");
    }
    let quarantined: u64 = tallies.values().map(|tally| u64::from(tally.quarantined)).sum();
    assert_eq!(story.ends.quarantined.len() as u64, quarantined);
    let mut persons = HashMap::<&str, Vec<(usize, usize)>>::new();
    for (person, id) in &story.delivered {
        persons.entry(person).or_default().push(*id);
    }
    for (person, ids) in persons {
        assert!(ids.is_sorted(), "{person}: {ids:?}");
    }
}

fn envelopes() -> impl Strategy<Value = Vec<Vec<Seed>>> {
    let seed = (0_u8..9, 0_u8..12).prop_map(|(person, dice)| Seed { person, bad: dice == 0 });
    proptest::collection::vec(proptest::collection::vec(seed, 1..8), 1..30)
}

proptest! {
    #[test]
    fn rudderstack_gets_all_but_the_bad_events_each_person_in_order(
        envelopes in envelopes(),
        choices in proptest::collection::vec(any::<u16>().prop_map(usize::from), 1..300),
        (events_max, bytes_max, slots) in (1_usize..20, 100_u64..2_000, 1_usize..9),
    ) {
        let batch = Batch { events_max, bytes_max: ByteSize(bytes_max) };
        let leg = RudderStackLeg::new(slots, batch, dialect::Settings::default(), gzip(), Arc::default());
        let story = run(leg, &envelopes, &choices);
        check(&story, &envelopes);
        for (_, id) in &story.delivered {
            prop_assert!(!envelopes[id.0][id.1].bad);
        }
    }

    #[test]
    fn segment_gets_whole_envelopes_each_person_in_order(
        envelopes in envelopes(),
        choices in proptest::collection::vec(any::<u16>().prop_map(usize::from), 1..300),
    ) {
        let story = run(SegmentLeg::default(), &envelopes, &choices);
        check(&story, &envelopes);
    }
}

#[test]
fn an_idle_slot_sends_at_once_and_a_busy_one_gathers() {
    let leg = || RudderStackLeg::new(1, Batch::default(), dialect::Settings::default(), gzip(), Arc::default());
    let (mut leg, mut ends, start) = (leg(), Ends::default(), Instant::now());
    let mut take_in = |leg: &mut RudderStackLeg, number| {
        leg.take_in(&entry(number, &[Seed { person: 1, bad: false }]), WallTime::from_millis(0), &mut ends);
    };
    take_in(&mut leg, 0);
    let first = leg.next_parcel(start, Retries::Go).unwrap();
    take_in(&mut leg, 1);
    take_in(&mut leg, 2);
    assert!(leg.next_parcel(start, Retries::Go).is_none() && leg.due(start, Retries::Go).is_none(), "one request of a slot is out at most");
    leg.settle(first.ticket, Fate::Delivered, &mut Ends::default());
    assert!(leg.next_parcel(start, Retries::Go).is_none(), "it gathers for a moment");
    let due = leg.due(start, Retries::Go).unwrap();
    assert!(due - start <= Duration::from_millis(25));
    assert_eq!(leg.next_parcel(due, Retries::Go).unwrap().events, 2);
}

#[test]
fn a_record_that_cannot_be_read_goes_to_quarantine_as_it_is() {
    let whole = entry(1, &[Seed { person: 1, bad: false }]);
    let broken = [whole.payload.slice(..40), bytes::Bytes::from_static(b"\xff"), {
        let mut cut = whole.payload.to_vec();
        cut.truncate(whole.payload.len() - 3);
        cut.into()
    }];
    for payload in broken {
        let entry = Entry { payload: payload.clone(), ..whole.clone() };
        let rudderstack = RudderStackLeg::new(1, Batch::default(), dialect::Settings::default(), gzip(), Arc::default());
        let legs: [Box<dyn Leg>; 2] = [Box::new(SegmentLeg::default()), Box::new(rudderstack)];
        for mut leg in legs {
            let mut ends = Ends::default();
            leg.take_in(&entry, WallTime::from_millis(0), &mut ends);
            assert_eq!((ends.complete[0].tally.quarantined, leg.records(), leg.held_bytes()), (1, 0, 0));
            assert_eq!(ends.quarantined[0].event, payload);
            assert!(ends.quarantined[0].reason.contains("cannot be read"), "{}", ends.quarantined[0].reason);
        }
    }
}

#[test]
fn while_retries_wait_what_is_new_goes_on() {
    let start = Instant::now();
    let of = |person| [Seed { person, bad: false }];
    let batch = Batch::default();
    let packing = || Packing::toward("http://127.0.0.1", &Arc::default());
    let rudder = RudderStackLeg::new(8, batch, dialect::Settings::default(), packing(), Arc::default());
    let legs: [Box<dyn Leg>; 2] = [Box::new(SegmentLeg::default()), Box::new(rudder)];
    for mut leg in legs {
        let mut ends = Ends::default();
        leg.take_in(&entry(0, &of(0)), WallTime::from_millis(0), &mut ends);
        let failed = leg.next_parcel(start, Retries::Go).unwrap();
        let later = start + Duration::from_secs(1);
        leg.settle(failed.ticket, Fate::Again(later), &mut ends);
        assert!(!leg.owes_retry(start) && leg.owes_retry(later));
        assert!(leg.next_parcel(later, Retries::Wait).is_none() && leg.due(later, Retries::Wait).is_none());
        assert_eq!(leg.due(start, Retries::Go), Some(later));
        // Somebody else's event, whichever slot that one has.
        let mut new = 0;
        for number in 1..20_u8 {
            leg.take_in(&entry(number.into(), &of(number)), WallTime::from_millis(0), &mut ends);
        }
        while let Some(parcel) = leg.next_parcel(later, Retries::Wait) {
            assert_eq!(parcel.failures, 0);
            new += parcel.events;
            leg.settle(parcel.ticket, Fate::Delivered, &mut ends);
        }
        assert!(new > 10, "only {new} new events went");
        let again = leg.next_parcel(later, Retries::Go).unwrap();
        assert_eq!((again.failures, leg.owes_retry(later)), (1, false), "it goes first once it may");
    }
}
