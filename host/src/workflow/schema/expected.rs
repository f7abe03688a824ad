//! What a schema expects, in words.

use super::{Kind, Rules};

/// How many schemas are looked at for one sentence, and how many values and forms it names: it is there to be read.
const MAX_LOOKS: u32 = 20;
const MAX_NAMED: usize = 10;

/// What is expected at a place, as the object of a sentence: `an integer from 0 to 255`.
pub(super) fn expected(nodes: &[Rules], place: usize) -> String {
    let mut looks = MAX_LOOKS;
    let mut forms = Vec::new();
    collect(nodes, place, &mut looks, &mut forms);
    forms.dedup();
    match forms.len() {
        0 => "another value".into(),
        _ => forms.join(" or "),
    }
}

fn collect(nodes: &[Rules], place: usize, looks: &mut u32, forms: &mut Vec<String>) {
    if *looks == 0 {
        return;
    }
    *looks -= 1;
    let rules = &nodes[place];
    if rules.never {
        forms.push("nothing".into());
    } else if let Some(values) = &rules.values {
        let shown: Vec<String> = values.iter().take(MAX_NAMED).map(|value| format!("`{value}`")).collect();
        let more = if values.len() > MAX_NAMED { ", …" } else { "" };
        forms.push(if values.len() == 1 { shown.concat() } else { format!("one of {}{more}", shown.join(", ")) });
    } else if !rules.kinds.is_empty() {
        forms.extend(rules.kinds.iter().map(|kind| rules.in_words(*kind)));
    } else {
        let nested = rules.reference.iter().chain(&rules.any_of).chain(&rules.one_of).chain(&rules.all_of);
        for place in nested {
            collect(nodes, *place, looks, forms);
        }
    }
}

impl Rules {
    fn in_words(&self, kind: Kind) -> String {
        match kind {
            Kind::Null => "`null`".into(),
            Kind::Boolean => "`true` or `false`".into(),
            Kind::Integer => format!("a whole number{}", self.range()),
            Kind::Number => format!("a number{}", self.range()),
            Kind::String => format!("a text{}", sizes(self.min_length, self.max_length, "characters")),
            Kind::Array => format!("an array{}", sizes(self.min_items, self.max_items, "values")),
            Kind::Object => "an object".into(),
        }
    }

    fn range(&self) -> String {
        let mut text = match (&self.minimum, &self.maximum) {
            (Some(least), Some(most)) => format!(" from {least} to {most}"),
            (Some(least), None) => format!(" of at least {least}"),
            (None, Some(most)) => format!(" of at most {most}"),
            (None, None) => String::new(),
        };
        for (word, bound) in [("more", &self.above), ("less", &self.below)] {
            if let Some(bound) = bound {
                text.push_str(&format!(" {word} than {bound}"));
            }
        }
        text
    }
}

fn sizes(least: Option<u64>, most: Option<u64>, unit: &str) -> String {
    match (least, most) {
        (Some(least), Some(most)) if least == most => format!(" of {least} {unit}"),
        (Some(least), Some(most)) => format!(" of {least} to {most} {unit}"),
        (Some(least), None) => format!(" of at least {least} {unit}"),
        (None, Some(most)) => format!(" of at most {most} {unit}"),
        (None, None) => String::new(),
    }
}
