//! Text that fits on a page, whatever the data holds.

use unicode_width::UnicodeWidthChar;

/// No printed line is wider than this many columns; only the paths of files may be.
pub(crate) const WIDTH: usize = 100;

/// `text` in at most `columns` columns, cut with an ellipsis. Control characters become spaces: a file can't steer the
/// terminal.
pub(crate) fn snippet(text: &str, columns: usize) -> String {
    let (mut short, mut width, mut fits) = (String::new(), 0, 0);
    for character in text.chars() {
        let character = if character.is_control() {
            ' '
        } else {
            character
        };
        width += character.width().unwrap_or(0);
        if width > columns {
            short.truncate(fits);
            return short + "…";
        }
        short.push(character);
        if width < columns {
            fits = short.len();
        }
    }
    short
}

/// `text` in exactly `columns` columns.
pub(crate) fn column(text: &str, columns: usize) -> String {
    let short = snippet(text, columns);
    let used = width(&short);
    short + &" ".repeat(columns.saturating_sub(used))
}

/// Columns that a line takes.
pub(crate) fn width(line: &str) -> usize {
    line.chars().filter_map(UnicodeWidthChar::width).sum()
}

/// A number of things with its noun: "1 seed", "3 seeds".
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A hyper-parameter as short as a table needs it.
pub(crate) fn number(value: f64) -> String {
    let exact = value.to_string();
    if exact.len() <= 6 {
        exact
    } else {
        format!("{value:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_is_cut_only_if_it_must_be_and_then_ends_with_an_ellipsis() {
        assert_eq!(snippet("abcdef", 6), "abcdef");
        assert_eq!(snippet("abcdef", 5), "abcd…");
        assert_eq!(snippet("", 5), "");
        assert_eq!(column("abc", 5), "abc  ");
        assert_eq!(column("abcdef", 5), "abcd…");
    }

    #[test]
    fn wide_characters_count_twice_and_combining_ones_not_at_all() {
        assert_eq!(snippet("検索検索", 8), "検索検索");
        assert_eq!(snippet("検索検索", 7), "検索検…");
        assert_eq!(column("検索検索", 6), "検索… ");
        assert_eq!(snippet("e\u{301}e\u{301}", 2), "e\u{301}e\u{301}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(snippet("a\u{1b}[2Jb\r", 10), "a [2Jb ");
    }

    #[test]
    fn one_thing_has_no_plural() {
        assert_eq!([count(1, "seed"), count(2, "seed")], ["1 seed", "2 seeds"]);
    }

    #[test]
    fn numbers_of_a_grid_are_exact_and_long_ones_are_rounded() {
        assert_eq!(number(0.05), "0.05");
        assert_eq!(number(-1.0), "-1");
        assert_eq!(number(0.123_456_789), "1.23e-1");
        assert_eq!(number(1e-300), "1.00e-300");
    }
}
