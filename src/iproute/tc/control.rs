//! What becomes of a packet: `pass`, `drop`, `goto chain N` (linux/pkt_cls.h, TC_ACT_*).

use super::grammar::{pick, read};
use super::units::{decimal, signed};
use crate::iproute::{Words, WordsError};

/// TC_ACT_UNSPEC: on to the next filter.
const CONTINUE: i32 = -1;
/// TC_ACT_RECLASSIFY, what police does without being told.
pub const RECLASSIFY: i32 = 1;
/// TC_ACT_PIPE: on to the next action.
pub const PIPE: i32 = 3;
/// TC_ACT_STOLEN
pub const STOLEN: i32 = 4;
/// TC_ACT_JUMP and TC_ACT_GOTO_CHAIN: the upper four bits, above a number of 28.
const JUMP: i32 = 1 << 28;
const GOTO: i32 = 2 << 28;
const NUMBER: i32 = (1 << 28) - 1;

const LIST: [&str; 10] = ["continue", "drop", "shot", "pass", "ok", "reclassify", "pipe", "goto", "jump", "trap"];

/// A control by its word or an abbreviation.
fn named(word: &str) -> Option<i32> {
    Some(match pick(word, &LIST)? {
        "continue" => CONTINUE,
        "drop" | "shot" => 2,
        "pass" | "ok" => 0,
        "reclassify" => RECLASSIFY,
        "pipe" => PIPE,
        "goto" => GOTO,
        "jump" => JUMP,
        _ => 8,
    })
}

/// Whether the word is one.
pub fn is(word: &str) -> bool {
    named(word).is_some()
}

/// A control by its word, maybe with the chain or the count behind it, or by its number where that may be.
///
/// # Errors
/// A word that is none.
pub fn parse(words: &mut Words<'_>, numbers: bool) -> Result<i32, WordsError> {
    let word = words.value("the action")?;
    let control = named(word).or_else(|| signed(word).filter(|_| numbers)).ok_or_else(|| words.unknown(word))?;
    let behind = |words: &mut Words<'_>, what: &str| -> Result<i32, WordsError> {
        read(words, what, "a number below 268435456", |text| decimal(text)?.try_into().ok().filter(|n| *n <= NUMBER))
    };
    match control {
        GOTO => match words.take() {
            Some(word) if pick(word, &["chain"]).is_some() => Ok(GOTO | behind(words, "goto chain")?),
            _ => Err(WordsError::Bad("goto needs a chain, like goto chain 10".into())),
        },
        JUMP => Ok(JUMP | behind(words, "jump")?),
        control => Ok(control),
    }
}

/// `EXCEED[/CONFORM]`, in one word or in three.
///
/// # Errors
/// As [`parse`].
pub fn parse_pair(words: &mut Words<'_>) -> Result<(i32, Option<i32>), WordsError> {
    let Some((exceed, conform)) = words.peek().and_then(|word| word.split_once('/')) else {
        let exceed = parse(words, true)?;
        let conform = if words.take_if("/") { Some(parse(words, true)?) } else { None };
        return Ok((exceed, conform));
    };
    words.take();
    let known = |word: &str| named(word).or_else(|| signed(word)).ok_or_else(|| words.unknown(word));
    Ok((known(exceed)?, Some(known(conform)?)))
}

/// As tc prints it.
pub fn show(control: i32) -> String {
    match control & !NUMBER {
        GOTO => return format!("goto chain {}", control & NUMBER),
        JUMP => return format!("jump {}", control & NUMBER),
        _ => {}
    }
    let name = match control {
        CONTINUE => "continue",
        0 => "pass",
        RECLASSIFY => "reclassify",
        2 => "drop",
        PIPE => "pipe",
        STOLEN => "stolen",
        8 => "trap",
        other => return other.to_string(),
    };
    name.into()
}
