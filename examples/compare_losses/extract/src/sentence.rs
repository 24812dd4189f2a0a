//! The query: the first sentence of a function's documentation, if it says something.

use std::ops::RangeInclusive;

use crate::markdown;

/// Words of a query; shorter ones say too little, longer ones are mostly lists.
pub(crate) const WORDS: RangeInclusive<usize> = 4..=40;

/// Beginnings, in lower case, of sentences that point elsewhere instead of describing.
const BOILERPLATE: [&str; 9] = [
    "see ",
    "see:",
    "same as ",
    "refer to ",
    "todo",
    "fixme",
    "safety:",
    "deprecated",
    "note:",
];

/// Words before a full stop that doesn't end the sentence.
const ABBREVIATIONS: [&str; 12] = [
    "e.g", "i.e", "eg", "ie", "etc", "vs", "cf", "resp", "approx", "incl", "fig", "sec",
];

/// The first sentence of `doc` in plain text, or `None` if it is no usable query.
pub(crate) fn query(doc: &str) -> Option<String> {
    let text = markdown::plain(&first_paragraph(doc)?);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = first_sentence(&text);
    let words = sentence
        .split(' ')
        .filter(|word| word.contains(char::is_alphanumeric))
        .count();
    let lower = sentence.to_lowercase();
    let usable =
        WORDS.contains(&words) && !BOILERPLATE.iter().any(|start| lower.starts_with(start));
    usable.then(|| sentence.to_owned())
}

/// The lines up to the first empty one; `None` if the documentation opens with a heading, a list or code.
fn first_paragraph(doc: &str) -> Option<String> {
    let mut lines = doc
        .lines()
        .map(str::trim)
        .skip_while(|line| line.is_empty())
        .peekable();
    if lines.peek().is_none_or(|line| opens_block(line)) {
        return None;
    }
    let paragraph: Vec<_> = lines
        .take_while(|line| !line.is_empty() && !opens_block(line))
        .collect();
    Some(paragraph.join(" "))
}

fn opens_block(line: &str) -> bool {
    [
        "#", "```", "~~~", "- ", "* ", "+ ", "|", ">", "==", "--", "<div", "<p>",
    ]
    .iter()
    .any(|mark| line.starts_with(mark))
}

/// Up to the first mark that ends a sentence: one before a space and no lower case letter, after no abbreviation.
fn first_sentence(text: &str) -> &str {
    for (index, mark) in text
        .char_indices()
        .filter(|(_, c)| matches!(c, '.' | '!' | '?'))
    {
        let end = index + mark.len_utf8();
        let closers = text[end..]
            .chars()
            .take_while(|c| matches!(c, ')' | '"' | '\'' | '”'))
            .map(char::len_utf8);
        let end = end + closers.sum::<usize>();
        let Some(next) = text[end..]
            .strip_prefix(' ')
            .and_then(|rest| rest.chars().next())
        else {
            continue;
        };
        let word = text[..index]
            .rsplit([' ', '('])
            .next()
            .unwrap_or_default()
            .to_lowercase();
        let abbreviates = mark == '.' && ABBREVIATIONS.contains(&word.as_str());
        if !next.is_lowercase() && !abbreviates {
            return &text[..end];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sentence_ends_at_a_mark_before_a_new_one() {
        assert_eq!(
            first_sentence("Parses v1.2 of it. Then stops."),
            "Parses v1.2 of it."
        );
        assert_eq!(
            first_sentence("Takes e.g. Paths. Or not."),
            "Takes e.g. Paths."
        );
        assert_eq!(
            first_sentence("Takes `.` (dots.) And more"),
            "Takes `.` (dots.)"
        );
        assert_eq!(first_sentence("Is it empty? Yes."), "Is it empty?");
        assert_eq!(first_sentence("No mark at all"), "No mark at all");
    }

    #[test]
    fn the_paragraph_ends_at_an_empty_line_or_a_block() {
        let two_lines = "\nReturns the\nnumber of items\n\nMore text.";
        assert_eq!(query(two_lines).unwrap(), "Returns the number of items");
        assert_eq!(
            query("Returns the given items:\n- one").unwrap(),
            "Returns the given items:"
        );
        assert_eq!(query("# Safety\nThe caller must hold it."), None);
        assert_eq!(query("```\nlet a = b + c + d;\n```"), None);
        assert_eq!(query(""), None);
    }

    #[test]
    fn queries_have_four_to_forty_words() {
        assert_eq!(query("Three words only."), None);
        assert_eq!(
            query("Exactly four words here.").unwrap(),
            "Exactly four words here."
        );
        assert_eq!(
            query("Marks - are : no words."),
            Some("Marks - are : no words.".into())
        );
        assert!(query(&"word ".repeat(40)).is_some());
        assert_eq!(query(&"word ".repeat(41)), None);
    }

    #[test]
    fn sentences_that_point_elsewhere_are_dropped() {
        assert_eq!(query("See [`Vec::push`] for how it works."), None);
        assert_eq!(query("Same as the other function below."), None);
        assert!(query("Seeks to the given position.").is_some());
    }

    #[test]
    fn markdown_and_tabs_leave_a_plain_line() {
        let doc = "Pushes\tonto the [`Vec`](std::vec::Vec), **always**.";
        assert_eq!(query(doc).unwrap(), "Pushes onto the Vec, always.");
    }
}
