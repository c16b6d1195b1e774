//! `u32` (tc-u32(8)): filters and hash tables of filters.

use super::action::{self, Action, View};
use super::grammar::{Ground, class, number, pick, read};
use super::ids;
use super::matchall::{SKIP_HW, SKIP_SW, check_flags, flag_names};
use super::police::Police;
use super::selector::{Mark, Selector, TERMINAL};
use crate::iproute::{Words, WordsError};

const LIST: [&str; 15] = [
    "match", "offset", "hashkey", "classid", "=flowid", "divisor", "order", "=link", "=ht", "=sample", "=indev", "action", "police",
    "=skip_hw", "=skip_sw",
];

/// A filter or a hash table, as the kernel's attributes have them (TCA_U32_*).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct U32 {
    /// The class that packets go to.
    pub class: Option<u32>,
    /// The table, and the bucket in it.
    pub hash: Option<u32>,
    /// The table that is looked in next.
    pub link: Option<u32>,
    /// Buckets of a table.
    pub divisor: Option<u32>,
    /// What is compared.
    pub selector: Option<Selector>,
    /// The link that packets came in by.
    pub indev: Option<String>,
    /// The packet's mark.
    pub mark: Option<Mark>,
    /// How many packets had the mark.
    pub mark_hits: u32,
    /// TCA_CLS_FLAGS_*
    pub flags: Option<u32>,
    /// What is done, with the place of each.
    pub actions: Vec<(u16, Action)>,
    /// The older way to hold to a rate.
    pub police: Option<Police>,
    /// Packets that came, that were taken, and that each key was true for.
    pub hits: Option<(u64, u64, Vec<u64>)>,
    /// Whether any word stood there: without one nothing is sent.
    pub given: bool,
    /// The number that `order` gives to the handle.
    pub order: u32,
}

/// A handle: `TABLE:BUCKET:NUMBER` in hexadecimal, or all in one behind `0x`.
pub fn handle(text: &str) -> Option<u32> {
    use super::units::hexadecimal;
    if !text.contains(':') {
        return text.starts_with("0x").then(|| hexadecimal(text))?;
    }
    let mut parts = text.splitn(3, ':');
    let mut part = |most: u32| match parts.next() {
        None | Some("") => Some(0),
        Some(part) => hexadecimal(part).filter(|n| *n < most),
    };
    Some(part(0x1000)? << 20 | part(0x100)? << 12 | part(0x1000)?)
}

/// A handle as tc prints it.
pub fn show_handle(handle: u32) -> String {
    let (table, hash, node) = (handle >> 20, handle >> 12 & 0xff, handle & 0xfff);
    if handle == 0 {
        return "none".into();
    }
    let mut text = if table == 0 { String::new() } else { format!("{table:x}:") };
    if hash != 0 {
        text += &format!("{hash:x}");
    }
    if node != 0 {
        text += &format!(":{node:x}");
    }
    text
}

fn table(words: &mut Words<'_>, of: &str) -> Result<u32, WordsError> {
    read(words, of, "a hash table like 1: or 800:", handle)
}

fn divisor(words: &mut Words<'_>, of: &str) -> Result<u32, WordsError> {
    read(words, of, "a power of two up to 256", |text| {
        let number = crate::iproute::number(text)?;
        (number.is_power_of_two() && number <= 0x100).then_some(number as u32)
    })
}

impl U32 {
    /// The words behind the kind.
    ///
    /// # Errors
    /// A word that is not known, a value that is none, or values that contradict each other.
    pub fn parse(words: &mut Words<'_>, ground: &dyn Ground) -> Result<Self, WordsError> {
        let mut all = Self { given: words.peek().is_some(), ..Self::default() };
        let mut selector = Selector::default();
        let (mut matched, mut sampled) = (false, false);
        while let Some(word) = words.take() {
            match pick(word, &LIST).unwrap_or_default() {
                "match" => {
                    all.mark = selector.parse(words)?.or(all.mark);
                    matched = true;
                }
                "offset" => selector.parse_offset(words)?,
                "hashkey" => selector.parse_hashkey(words)?,
                "classid" | "flowid" => {
                    all.class = Some(class(words, word)?);
                    selector.flags |= TERMINAL;
                }
                "ht" => all.table(words, sampled)?,
                "sample" => {
                    all.sample(words)?;
                    sampled = true;
                }
                "action" => all.actions = (1..).zip(action::parse(words, ground)?).collect(),
                "police" => all.police = Some(Police::parse(words, ground)?),
                name => all.word(words, name, word)?,
            }
        }
        if !all.actions.is_empty() || all.police.is_some() {
            selector.flags |= TERMINAL;
        }
        check_flags(all.flags.unwrap_or(0))?;
        all.selector = matched.then_some(selector);
        all.hash = all.hash.filter(|hash| *hash != 0);
        Ok(all)
    }

    fn word(&mut self, words: &mut Words<'_>, name: &str, word: &str) -> Result<(), WordsError> {
        match name {
            "divisor" => self.divisor = Some(divisor(words, name)?),
            "order" => self.order = number(words, name)?,
            "link" => {
                let link = table(words, name)?;
                if link & 0xfff != 0 {
                    return Err(WordsError::Bad("filter u32: link has to be a hash table like 1:".into()));
                }
                self.link = Some(link);
            }
            "indev" => self.indev = Some(words.value(name)?.to_owned()),
            "skip_hw" => *self.flags.get_or_insert(0) |= SKIP_HW,
            "skip_sw" => *self.flags.get_or_insert(0) |= SKIP_SW,
            _ => return Err(words.unknown(word)),
        }
        Ok(())
    }

    fn table(&mut self, words: &mut Words<'_>, sampled: bool) -> Result<(), WordsError> {
        let table = table(words, "ht")?;
        self.hash = Some(if sampled { self.hash.unwrap_or(0) & 0xf_f000 | table & 0xfff0_0000 } else { table & 0xffff_f000 });
        Ok(())
    }

    /// `sample SELECTOR [divisor N]`: the bucket that a packet like that is in.
    fn sample(&mut self, words: &mut Words<'_>) -> Result<(), WordsError> {
        let mut sample = Selector::default();
        sample.parse(words)?;
        let [key] = sample.keys[..] else {
            return Err(WordsError::Bad("filter u32: sample has exactly one value".into()));
        };
        let divisor = if words.take_if("divisor") { divisor(words, "divisor")? } else { 0x100 };
        let folded = u32::from_be(key.value & key.mask).checked_shr(u32::from_be(key.mask).trailing_zeros()).unwrap_or(0);
        self.hash = Some((folded % divisor) << 12 | self.hash.unwrap_or(0) & 0xfff0_0000);
        Ok(())
    }

    /// The handle with the number that `order` gives.
    ///
    /// # Errors
    /// When the handle has another number already.
    pub fn ordered(&self, handle: u32) -> Result<u32, WordsError> {
        if self.order != 0 && handle & 0xfff != 0 && handle & 0xfff != self.order {
            return Err(WordsError::Bad("filter u32: order contradicts handle".into()));
        }
        Ok(handle | self.order)
    }

    /// As tc prints it, for packets of a protocol.
    pub fn show(&self, handle: u32, protocol: u16, view: View<'_>) -> String {
        let mut text = self.show_head(handle);
        let hits = self.hits.as_ref().filter(|_| view.statistics && self.selector.is_some());
        if let Some((came, taken, _)) = hits {
            text += &format!("(rule hit {came} success {taken})");
        }
        if let Some((value, mask)) = self.mark {
            text += &format!("\n  mark 0x{value:04x} 0x{mask:04x} (success {})", self.mark_hits.cast_signed());
        }
        let selector = self.selector.clone().unwrap_or_default();
        for (n, key) in selector.keys.iter().enumerate() {
            text += &if view.pretty { key.show_pretty(protocol) } else { key.show() };
            if let Some((_, _, each)) = hits {
                text += &format!(" (success {} ) ", each.get(n).unwrap_or(&0));
            }
        }
        text += &selector.show_rest();
        if let Some(police) = &self.police {
            text += &format!("\n{}", police.show(view.details, view.statistics, view.clock));
        }
        if let Some(indev) = &self.indev {
            text += &format!("\n  input dev {indev}\n");
        }
        text + &action::show(&self.actions, view)
    }

    fn show_head(&self, handle: u32) -> String {
        let mut text = String::new();
        if handle != 0 {
            text += &format!("fh {} ", show_handle(handle));
        }
        if handle & 0xfff != 0 {
            text += &format!("order {} ", handle & 0xfff);
        }
        match (self.divisor, self.hash) {
            (Some(divisor), _) => text += &format!("ht divisor {divisor} "),
            (None, Some(hash)) => text += &format!("key ht {:x} bkt {:x} ", hash >> 20, hash >> 12 & 0xff),
            (None, None) => {}
        }
        let terminal = self.selector.as_ref().is_some_and(|selector| selector.flags & TERMINAL != 0);
        match self.class {
            Some(class) => text += &format!("{}flowid {} ", if terminal { "*" } else { "" }, ids::show(class)),
            None if terminal => text += "terminal flowid ",
            None => {}
        }
        if let Some(link) = self.link {
            text += &format!("link {} ", show_handle(link));
        }
        text.extend(flag_names(self.flags.unwrap_or(0)).iter().map(|name| format!("{name} ")));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_have_a_table_a_bucket_and_a_number() {
        for (text, wanted) in [
            ("800::800", Some(0x8000_0800)),
            ("800:", Some(0x8000_0000)),
            ("1:2:3", Some(0x0010_2003)),
            (":1:", Some(0x1000)),
            ("0x80000800", Some(0x8000_0800)),
            ("800", None),
            ("1000:", None),
            ("1:100:", None),
        ] {
            assert_eq!(handle(text), wanted, "{text}");
        }
        assert_eq!(show_handle(0x8000_0800), "800::800");
        assert_eq!(show_handle(0x0010_2003), "1:2:3");
    }
}
