//! What a ramp does next: decided look by look, by where it stands and by its gates.
//!
//! It moves away from Segment by confirmed steps alone, and only through gates that were green for a whole window since the move
//! before. Everything else that it does by itself stays where it is, or gives Segment more.

use std::time::Duration;

use super::{Course, CourseState, GateReading, GateWatch, Gates, OnRed, Pause};
use crate::model::{Revision, WallTime};

/// Looks at one source for its ramp, and for whoever wants to start one.
#[derive(Debug, Clone)]
pub struct Pilot {
    gates: GateWatch,
    /// The ramp that it looks at, and the place and the state that it saw it at last; None: there is none.
    seen: Option<(Revision, usize, CourseState)>,
    /// Why it holds; None: it does not.
    held: Option<Vec<String>>,
}

/// What one look says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is to be done: it is not time yet, somebody has to resume it, or there is no ramp.
    Wait,
    /// The next step is to be taken: so many are then.
    Go(usize),
    /// It stays where it is, for these reasons.
    Hold(Vec<String>),
    /// It goes back: so many steps are taken then.
    Back(usize),
    /// It is through.
    Done,
}

/// A gate has to be red for this part of the window before that is said, or anything goes back: a step stops at once.
const HOLD_PART: u32 = 15;
/// One look alone is none.
const TICK: Duration = Duration::from_millis(1);

impl Pilot {
    /// A pilot that has seen nothing yet; `gates` are those of a source without a ramp.
    #[must_use]
    pub const fn new(gates: Gates) -> Self {
        Self { gates: GateWatch::new(gates), seen: None, held: None }
    }

    /// Looks. `usual` are the gates while no ramp runs.
    pub fn look(&mut self, course: Option<&Course>, usual: &Gates, now: WallTime, reading: &GateReading) -> Verdict {
        let alive = course.filter(|course| course.is_alive());
        let gates = alive.map_or(*usual, |course| course.ramp.gates);
        if *self.gates.gates() != gates {
            self.gates = GateWatch::new(gates);
        }
        self.gates.look(now, reading);
        let sees = alive.map(|course| (course.name, course.place, course.state));
        if self.seen != sees {
            // What was green before a move says nothing about what the move did. Before a ramp's first step it does.
            if alive.is_some_and(|course| course.place > 0) || self.seen.is_some() {
                self.gates.begin_anew();
            }
            (self.seen, self.held) = (sees, None);
        }
        match alive {
            Some(course) => self.decide(course, now),
            None => Verdict::Wait,
        }
    }

    fn decide(&mut self, course: &Course, now: WallTime) -> Verdict {
        match course.state {
            CourseState::Paused(Pause::WentBack) if self.gates.wrong() >= self.gates.gates().window.0.max(TICK) => {
                course.behind().map_or(Verdict::Wait, Verdict::Back)
            }
            CourseState::Paused(_) | CourseState::Ended(_) => Verdict::Wait,
            CourseState::Running if self.gates.is_red() => self.red(course, now),
            CourseState::Running if self.gates.is_open() => {
                self.held = None;
                open(course, now)
            }
            CourseState::Running => self.held.clone().map_or(Verdict::Wait, Verdict::Hold),
        }
    }

    fn red(&mut self, course: &Course, now: WallTime) -> Verdict {
        let long = (self.gates.gates().window.0 / HOLD_PART).max(TICK);
        let (is_wrong, is_late) = (self.gates.wrong() >= long, self.gates.red() >= long && self.is_awaited(course, now));
        if let Some(place) = course.behind().filter(|_| is_wrong && course.ramp.on_red == OnRed::Back) {
            return Verdict::Back(place);
        }
        // Right after a start or a step little is known: that is nothing to tell until it is time for the next.
        if is_wrong || is_late || self.held.is_some() {
            let reasons = self.gates.reasons();
            self.held = Some(reasons.clone());
            return Verdict::Hold(reasons);
        }
        Verdict::Wait
    }

    /// Whether the next step could have been taken by now.
    fn is_awaited(&self, course: &Course, now: WallTime) -> bool {
        let window = later(course.moved_at, self.gates.gates().window.0);
        now >= if course.place == 0 { window } else { window.max(waited(course)) }
    }

    /// How the gates stand.
    #[must_use]
    pub const fn gates(&self) -> &GateWatch {
        &self.gates
    }

    /// Why it holds: what was red last, as it may be green again and not for long enough. None: it does not hold.
    #[must_use]
    pub fn held(&self) -> Option<&[String]> {
        self.held.as_deref()
    }

    /// When the next step is taken, or the ramp is through, if all gates stay green; None: it is paused, over or held by a red gate.
    #[must_use]
    pub fn due(&self, course: &Course, now: WallTime) -> Option<WallTime> {
        if course.state != CourseState::Running || self.gates.is_red() {
            return None;
        }
        let missing = self.gates.gates().window.0.saturating_sub(self.gates.green());
        let open = later(now, missing);
        Some(if course.place == 0 { open } else { open.max(waited(course)) })
    }
}

fn open(course: &Course, now: WallTime) -> Verdict {
    match course.next() {
        _ if !is_time(course, now) => Verdict::Wait,
        Some(_) => Verdict::Go(course.place + 1),
        None => Verdict::Done,
    }
}

/// Whether a step has lasted as long as it has to. Before the first nothing was moved that time could tell anything about.
fn is_time(course: &Course, now: WallTime) -> bool {
    course.place == 0 || now >= waited(course)
}

fn waited(course: &Course) -> WallTime {
    later(course.moved_at, course.ramp.every)
}

fn later(at: WallTime, span: Duration) -> WallTime {
    at.plus_millis(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        model::{PerDestination, Percent, SourceId},
        routing::{Author, Change, Deed, ParityReading, Ramp, RampKind, RampMove, Requests},
    };

    const START: WallTime = WallTime::from_millis(1_700_000_000_000);
    /// Seconds between looks.
    const LOOK: u64 = 5;

    /// A source, its ramp and what is said of it.
    struct Story {
        pilot: Pilot,
        course: Course,
        second: u64,
        revision: u64,
        /// What is known, but for the requests, which go on.
        reading: GateReading,
        /// What was done, and when.
        told: Vec<String>,
    }

    impl Story {
        fn new(steps: &str, on_red: OnRed) -> Self {
            let source = SourceId::parse("web").unwrap();
            let steps = RampKind::Cutover.steps(steps, Percent::ZERO).unwrap();
            let gates: Gates = "window=5m".parse().unwrap();
            let ramp = Ramp { source, from: "both".parse().unwrap(), steps, every: Duration::from_mins(20), gates, on_red };
            let started = Change {
                revision: Revision(1),
                at: START,
                by: Author::Uid(1),
                deed: Deed::Ramp(Box::new(ramp.clone())),
                reason: None,
                undoes: None,
            };
            let parity = Some(ParityReading { lower: 0.9999, upper: 1.0, pairs: 5_000, evidence: "tap" });
            let reading = GateReading { parity, lag: Some(Duration::ZERO), ..GateReading::default() };
            let course = Course::begun(&started, &ramp);
            Self { pilot: Pilot::new(gates), course, second: 0, revision: 1, reading, told: Vec::new() }
        }

        fn now(&self) -> WallTime {
            START.plus_millis(i64::try_from(self.second * 1_000).unwrap())
        }

        fn done(&mut self, by: Author, deed: Deed) {
            self.revision += 1;
            let change = Change { revision: Revision(self.revision), at: self.now(), by, deed, reason: None, undoes: None };
            self.course.take(&change);
        }

        fn by_hand(&mut self, done: RampMove) {
            self.done(Author::Uid(1), Deed::RampMove(self.course.name, done));
        }

        /// Looks once, and does what the look says.
        fn look(&mut self) -> Verdict {
            self.second += LOOK;
            self.reading.requests = PerDestination::from_fn(|_| Requests { ended: self.second * 10, failed: 0 });
            let (now, own, was_held) = (self.now(), self.course.author(), self.pilot.held().is_some());
            let verdict = self.pilot.look(Some(&self.course), &Gates::default(), now, &self.reading);
            let told = match &verdict {
                Verdict::Go(place) | Verdict::Back(place) => {
                    let (from, to) = (self.course.route(), self.course.ramp.route_at(*place));
                    self.done(own, Deed::Route { source: self.course.ramp.source.clone(), from, to });
                    Some(to.to_string())
                }
                Verdict::Hold(reasons) if !was_held => Some(reasons.join("; ")),
                Verdict::Done => {
                    self.done(own, Deed::RampMove(self.course.name, RampMove::Done));
                    Some("done".to_owned())
                }
                Verdict::Hold(_) | Verdict::Wait => None,
            };
            self.told.extend(told.map(|told| format!("{}:{:02} {told}", self.second / 60, self.second % 60)));
            verdict
        }

        fn pass(&mut self, minutes: u64) {
            let end = self.second + minutes * 60;
            while self.second < end {
                self.look();
            }
        }
    }

    #[test]
    fn green_gates_let_every_step_through_in_its_time() {
        let mut story = Story::new("10,50,100", OnRed::Hold);
        story.pass(120);
        // At the first look nothing had been sent; then a window, then a wait for each step.
        assert_eq!(story.told, ["5:10 cutover=10%", "25:10 cutover=50%", "45:10 rudderstack-only", "65:10 done"]);
        assert_eq!(story.course.state.label(), "done");
    }

    #[test]
    fn a_red_gate_holds_and_green_ones_let_it_go_on_after_a_whole_window() {
        let mut story = Story::new("10,50", OnRed::Hold);
        story.pass(20);
        story.reading.lag = Some(Duration::from_secs(8));
        story.pass(20);
        assert_eq!(story.told, ["5:10 cutover=10%", "20:25 lag 8.0 s > 5.0 s"]);
        story.reading.lag = Some(Duration::ZERO);
        story.pass(4);
        assert_eq!(story.pilot.held(), Some(&["lag 8.0 s > 5.0 s".to_owned()][..]));
        story.pass(2);
        assert_eq!(story.told.last().unwrap(), "45:05 cutover=50%");
        assert_eq!(story.pilot.held(), None);
    }

    #[test]
    fn a_gate_that_flaps_lets_nothing_through() {
        let mut story = Story::new("10,50", OnRed::Hold);
        story.pass(10);
        for _ in 0..120 {
            story.reading.lag = Some(Duration::from_secs(8));
            story.look();
            story.reading.lag = Some(Duration::ZERO);
            for _ in 0..40 {
                story.look();
            }
        }
        assert_eq!(story.told, ["5:10 cutover=10%"]);
    }

    #[test]
    fn it_goes_back_as_far_as_segment_gets_more_and_waits_for_a_person() {
        let mut story = Story::new("10,50", OnRed::Back);
        story.pass(26);
        story.reading.parity = Some(ParityReading { lower: 0.99, upper: 0.995, pairs: 5_000, evidence: "tap" });
        story.pass(30);
        assert_eq!(story.told, ["5:10 cutover=10%", "25:10 cutover=50%", "26:25 cutover=10%", "31:30 both"]);
        story.reading.parity = Some(ParityReading { lower: 1.0, upper: 1.0, pairs: 5_000, evidence: "tap" });
        story.pass(60);
        assert_eq!(story.told.len(), 4, "{:?}", story.told);
        story.by_hand(RampMove::Resume);
        story.pass(6);
        assert_eq!(story.told.last().unwrap(), "121:05 cutover=10%");
    }

    #[test]
    fn too_little_to_tell_takes_nothing_back_and_is_told_when_the_next_step_is_due() {
        let mut story = Story::new("10,50", OnRed::Back);
        story.pass(6);
        // As after every step: what is compared is counted anew.
        story.reading.parity = Some(ParityReading { lower: 0.2, upper: 1.0, pairs: 12, evidence: "tap" });
        story.pass(60);
        assert_eq!(story.told, ["5:10 cutover=10%", "25:10 parity rests on 12 events, 1000 needed"]);
    }

    #[test]
    fn where_segment_would_not_get_more_it_holds() {
        let mut story = Story::new("10,50", OnRed::Back);
        story.course.ramp.from = "segment-only".parse().unwrap();
        story.course.ramp.steps = RampKind::Shadow.steps("10,50", Percent::ZERO).unwrap();
        story.pass(10);
        story.reading.lag = Some(Duration::from_secs(6));
        story.pass(10);
        assert_eq!(story.told, ["5:10 shadow=10%", "10:25 lag 6.0 s > 5.0 s"]);
    }

    #[test]
    fn whoever_pauses_it_has_to_resume_it() {
        let mut story = Story::new("10,50", OnRed::Back);
        story.pass(10);
        story.by_hand(RampMove::Pause);
        story.pass(60);
        story.reading.lag = None;
        story.pass(30);
        assert_eq!(story.told, ["5:10 cutover=10%"]);
        assert_eq!(story.pilot.due(&story.course, story.now()), None);
    }

    #[test]
    fn the_time_of_the_next_step_is_told() {
        let mut story = Story::new("10,50", OnRed::Hold);
        story.pass(1);
        let due = story.pilot.due(&story.course, story.now()).unwrap();
        assert_eq!(due, START.plus_millis(310_000));
        story.pass(9);
        assert_eq!(story.pilot.due(&story.course, story.now()), Some(START.plus_millis(1_510_000)));
    }

    #[test]
    fn what_was_green_before_a_restart_counts_no_more() {
        let mut story = Story::new("10,50", OnRed::Hold);
        story.pass(24);
        // Down for half an hour, and up again.
        story.second += 1_800;
        story.pilot = Pilot::new(Gates::default());
        story.pass(10);
        assert_eq!(story.told, ["5:10 cutover=10%", "59:10 cutover=50%"]);
    }

    /// What happens between two looks.
    #[derive(Debug, Clone, Copy)]
    enum Turn {
        Lag(u64),
        Parity(Option<u16>),
        Refused,
        Pause,
        Resume,
        KillOn,
        Restart,
        Sleep(u64),
    }

    fn turn() -> impl Strategy<Value = Turn> {
        prop_oneof![
            3 => prop_oneof![Just(0), Just(1), Just(9)].prop_map(Turn::Lag),
            3 => prop_oneof![Just(None), Just(Some(9_970)), Just(Some(9_995))].prop_map(Turn::Parity),
            1 => Just(Turn::Refused),
            1 => Just(Turn::Pause),
            3 => Just(Turn::Resume),
            1 => Just(Turn::KillOn),
            1 => Just(Turn::Restart),
            1 => (1_u64..10_000).prop_map(Turn::Sleep),
        ]
    }

    proptest! {
        #[test]
        fn no_step_while_a_gate_is_red_and_none_that_was_not_confirmed(
            on_red in prop_oneof![Just(OnRed::Hold), Just(OnRed::Back)],
            turns in prop::collection::vec((turn(), 1_usize..300), 1..30),
        ) {
            let mut story = Story::new("10,25,60", on_red);
            // For how many seconds everything was seen green, by what the world was like.
            let (mut green, mut moved, mut looked) = (0, 0, 0);
            for (turn, looks) in turns {
                match turn {
                    Turn::Lag(seconds) => story.reading.lag = Some(Duration::from_secs(seconds)),
                    Turn::Parity(None) => story.reading.parity = None,
                    Turn::Parity(Some(share)) => {
                        story.reading.parity = Some(ParityReading { lower: f64::from(share) / 10_000.0, upper: f64::from(share) / 10_000.0 + 0.0001, pairs: 1_000, evidence: "tap" });
                    }
                    Turn::Refused => story.reading.quarantined += 1,
                    Turn::Pause => story.by_hand(RampMove::Pause),
                    Turn::Resume => story.by_hand(RampMove::Resume),
                    Turn::KillOn => story.done(Author::Uid(1), Deed::KillOn),
                    Turn::Restart => (story.pilot, green) = (Pilot::new(Gates::default()), 0),
                    Turn::Sleep(seconds) => story.second += seconds,
                }
                for _ in 0..looks {
                    let before = story.course.clone();
                    let was_running = before.state == CourseState::Running;
                    let verdict = story.look();
                    let is_green = story.reading.lag < Some(Duration::from_secs(5))
                        && story.reading.parity.is_some_and(|parity| parity.lower >= 0.999);
                    green = if is_green { green + (story.second - looked).min(30) } else { 0 };
                    looked = story.second;
                    match verdict {
                        Verdict::Go(place) => {
                            prop_assert!(was_running && is_green && place == before.place + 1 && place <= 3);
                            prop_assert!(green >= 300, "green for {green} s");
                            prop_assert!(before.place == 0 || story.second - moved >= 1_200);
                            moved = story.second;
                        }
                        Verdict::Back(place) => {
                            prop_assert!(on_red == OnRed::Back && before.state != CourseState::Paused(Pause::ByHand));
                            prop_assert!(before.ramp.route_at(place).segment() > before.route().segment());
                            moved = story.second;
                        }
                        Verdict::Done => prop_assert_eq!(before.place, 3),
                        Verdict::Hold(_) | Verdict::Wait => prop_assert_eq!(before.place, story.course.place),
                    }
                }
            }
        }
    }
}
