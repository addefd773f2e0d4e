//! How many different people there are, in little memory.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};

/// People who are told apart: exactly so long as they are few, then by `HyperLogLog` (2,048 registers: a standard error of 2.3 %), with
/// the estimator of Otmar Ertl, "New cardinality estimation algorithms for `HyperLogLog` sketches" (2017), which needs no tables and has
/// no bias at any count. One kilobyte at most, then two.
///
/// Our own, as the crates for it keep addresses in what they save (`cardinality-estimator`) or have no exact small form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Sketch(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// Their hashes, ascending.
    Few(Vec<u64>),
    /// For each register the longest run of zeros of the hashes that fell to it, and one.
    Many(Box<[u8; REGISTERS]>),
}

/// A text that is no sketch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a sketch of how many people there are")]
pub struct NotASketch;

/// Bits of a hash that choose a register.
const INDEX_BITS: u32 = 11;
const REGISTERS: usize = 1 << INDEX_BITS;
/// The other bits.
const RANK_BITS: u32 = u64::BITS - INDEX_BITS;
/// People who are told apart exactly.
const FEW_MAX: usize = 128;

impl Default for Sketch {
    fn default() -> Self {
        Self(Form::Few(Vec::new()))
    }
}

impl Sketch {
    /// Counts a person, who is a well-mixed hash ([`Person`](crate::routing::Person)).
    pub fn insert(&mut self, person: u64) {
        match &mut self.0 {
            Form::Few(people) => {
                let Err(at) = people.binary_search(&person) else { return };
                people.insert(at, person);
                if people.len() > FEW_MAX {
                    let mut registers = Box::new([0; REGISTERS]);
                    for person in &*people {
                        raise(&mut registers, *person);
                    }
                    self.0 = Form::Many(registers);
                }
            }
            Form::Many(registers) => raise(registers, person),
        }
    }

    /// Counts everybody whom another one counted.
    pub fn merge(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (_, Form::Few(people)) => {
                for person in people {
                    self.insert(*person);
                }
            }
            (Form::Many(registers), Form::Many(others)) => {
                registers.iter_mut().zip(others.iter()).for_each(|(register, other)| *register = (*register).max(*other));
            }
            (Form::Few(_), Form::Many(_)) => {
                let few = std::mem::replace(self, other.clone());
                self.merge(&few);
            }
        }
    }

    /// How many people were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        match &self.0 {
            Form::Few(people) => people.len() as u64,
            Form::Many(registers) => estimate(registers),
        }
    }
}

fn raise(registers: &mut [u8; REGISTERS], person: u64) {
    let index = usize::try_from(person >> RANK_BITS).unwrap_or(0);
    let rank = ((person << INDEX_BITS).leading_zeros().min(RANK_BITS) + 1).to_le_bytes()[0];
    registers[index] = registers[index].max(rank);
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate, rounded")]
fn estimate(registers: &[u8; REGISTERS]) -> u64 {
    let mut counts = [0_u32; RANK_BITS as usize + 2];
    for register in registers {
        counts[usize::from(*register).min(RANK_BITS as usize + 1)] += 1;
    }
    let all = REGISTERS as f64;
    let mut sum = all * tau(1.0 - f64::from(counts[RANK_BITS as usize + 1]) / all);
    for count in counts[1..=RANK_BITS as usize].iter().rev() {
        sum = 0.5 * (sum + f64::from(*count));
    }
    sum += all * sigma(f64::from(counts[0]) / all);
    (all * all / (2.0 * std::f64::consts::LN_2 * sum)).round() as u64
}

/// Corrects for registers that nobody fell to. A share of 1 of them has no end.
fn sigma(share: f64) -> f64 {
    let (mut power, mut weight, mut sum) = (share, 1.0, share);
    for _ in 0..u64::BITS {
        power *= power;
        sum += power * weight;
        weight += weight;
    }
    sum
}

/// Corrects for registers that are full.
fn tau(share: f64) -> f64 {
    let (mut root, mut weight, mut sum) = (share, 1.0, 1.0 - share);
    for _ in 0..u64::BITS {
        root = root.sqrt();
        weight *= 0.5;
        sum -= (1.0 - root).powi(2) * weight;
    }
    sum / 3.0
}

/// `few.` or `many.`, and base64.
impl From<Sketch> for String {
    fn from(sketch: Sketch) -> Self {
        match sketch.0 {
            Form::Few(people) => {
                let bytes: Vec<u8> = people.iter().flat_map(|person| person.to_le_bytes()).collect();
                format!("few.{}", STANDARD_NO_PAD.encode(bytes))
            }
            Form::Many(registers) => format!("many.{}", STANDARD_NO_PAD.encode(registers.as_slice())),
        }
    }
}

impl TryFrom<String> for Sketch {
    type Error = NotASketch;

    fn try_from(text: String) -> Result<Self, NotASketch> {
        let (form, text) = text.split_once('.').ok_or(NotASketch)?;
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| NotASketch)?;
        match form {
            "few" => {
                let (people, []) = bytes.as_chunks() else { return Err(NotASketch) };
                let mut sketch = Self::default();
                for person in people {
                    sketch.insert(u64::from_le_bytes(*person));
                }
                Ok(sketch)
            }
            "many" => Ok(Self(Form::Many(bytes.into_boxed_slice().try_into().map_err(|_| NotASketch)?))),
            _ => Err(NotASketch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::Person;

    fn people(range: std::ops::Range<u32>) -> Sketch {
        let mut sketch = Sketch::default();
        for n in range {
            let id = format!("person-{n}");
            // Everybody comes twice.
            sketch.insert(Person::of(Some(&id), None, "m").0);
            sketch.insert(Person::of(Some(&id), None, "m").0);
        }
        sketch
    }

    fn is_near(count: u64, people: u32) {
        let off = (f64::from(u32::try_from(count).unwrap()) / f64::from(people) - 1.0).abs();
        // Three standard errors.
        assert!(off < 0.069, "{people} people were counted as {count}");
    }

    #[test]
    fn few_people_are_counted_exactly_and_many_nearly() {
        assert_eq!(Sketch::default().count(), 0);
        for n in [1, 7, 127, 128] {
            assert_eq!(people(0..n).count(), u64::from(n));
        }
        for n in [129, 300, 1_000, 5_000, 50_000, 300_000] {
            is_near(people(0..n).count(), n);
        }
    }

    #[test]
    fn merged_sketches_count_everybody_once() {
        for (one, other, all) in
            [(0..50, 25..75, 75), (0..100, 50..20_000, 20_000), (0..20_000, 10_000..30_000, 30_000), (0..9_000, 0..60, 9_000)]
        {
            let (mut left, right) = (people(one.clone()), people(other.clone()));
            let mut mirrored = right.clone();
            mirrored.merge(&left);
            left.merge(&right);
            assert_eq!(left, mirrored, "{one:?} and {other:?}");
            is_near(left.count(), all);
        }
    }

    #[test]
    fn a_sketch_is_read_back_as_it_was_written() {
        for n in [0, 1, 128, 129, 10_000] {
            let sketch = people(0..n);
            assert_eq!(Sketch::try_from(String::from(sketch.clone())).unwrap(), sketch);
        }
        for wrong in ["", "few", "few.AA", "many.AA", "some.", "few.!!!!"] {
            assert_eq!(Sketch::try_from(wrong.to_owned()), Err(NotASketch), "{wrong}");
        }
        // Whatever stands in the registers, it is a number.
        let full = Sketch(Form::Many(Box::new([255; REGISTERS])));
        assert!(full.count() > 1 << 60);
    }
}
