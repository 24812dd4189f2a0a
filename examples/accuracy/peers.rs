//! The peers: inputs for them, errors of their answers, and what is on record.

use std::io::{Read, Result, Write};

use crate::cases::{self, Case, Distance, Family, Form, Similarity, Softmax};
use crate::measure::{Errors, Exact, Spread};
use crate::ours::Found;

/// In the order in which they answer.
pub(crate) const NAMES: [&str; 2] = ["PyTorch", "JAX"];

/// Errors of both peers on all cases, in the order of [`cases::all`].
const RECORDED: &str = include_str!("peers.tsv");

/// Writes all cases: a line of words, and the numbers of all parts as `f64`, least byte first.
pub(crate) fn export(out: &mut impl Write) -> Result<()> {
    for case in cases::all() {
        let parts = case.parts();
        let [loss, what, form] = words(case.family);
        let temperature = case.family.temperature().unwrap_or(1.0);
        let repeat = case.input.repeated().unwrap_or(1);
        write!(
            out,
            "{} {loss} {what} {form} {temperature} {repeat}",
            case.number.name()
        )?;
        for part in &parts {
            write!(out, " {}x{}", part.rows, part.dim)?;
        }
        writeln!(out)?;
        for x in parts.iter().flat_map(|part| &part.numbers) {
            out.write_all(&x.to_le_bytes())?;
        }
    }
    Ok(())
}

fn words(family: Family) -> [String; 3] {
    let [loss, what, form] = match family {
        Family::Match => ["match", "-", "-"],
        Family::NoMatch => ["no_match", "-", "-"],
        Family::Triplet(distance, form) => {
            let form = match form {
                Form::Hinge => "hinge",
                Form::Soft => "soft",
                Form::Swap => "swap",
            };
            match distance {
                Distance::Lp(p) => return ["triplet".into(), p.to_string(), form.into()],
                Distance::SquaredEuclidean => ["triplet", "squared", form],
                Distance::Cosine => ["triplet", "cosine", form],
            }
        }
        Family::InfoNce(similarity, softmax, _) => {
            let similarity = match similarity {
                Similarity::Cosine => "cosine",
                Similarity::Dot => "dot",
            };
            let softmax = match softmax {
                Softmax::Plain => "plain",
                Softmax::Symmetric => "symmetric",
                Softmax::Given => "given",
                Softmax::Smoothed => "smoothed",
                Softmax::Decoupled => "decoupled",
            };
            ["info_nce", similarity, softmax]
        }
    };
    [loss, what, form].map(String::from)
}

/// Reads the answers of all peers to all cases, losses and gradients as `f64`, and writes their errors.
pub(crate) fn judge(answers: &mut impl Read, out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "case\ttype\tpeer\tloss, largest\tmedian\tgradient, largest\tmedian"
    )?;
    for case in cases::all() {
        let exact = Exact::of(case);
        let [losses, gradient] = exact.numbers();
        for peer in NAMES {
            let found = Found {
                losses: numbers(answers, losses)?,
                gradient: numbers(answers, gradient)?,
            };
            let errors = exact.errors(&found);
            write!(out, "{}\t{}\t{peer}", case.name(), case.number.name())?;
            for spread in [Some(errors.loss), errors.gradient].into_iter().flatten() {
                write!(out, "\t{:.2e}\t{:.2e}", spread.largest, spread.median)?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

fn numbers(from: &mut impl Read, count: usize) -> Result<Vec<f64>> {
    let mut bytes = vec![0; 8 * count];
    from.read_exact(&mut bytes)?;
    let numbers = bytes.chunks_exact(8);
    Ok(numbers
        .map(|bytes| f64::from_le_bytes(bytes.try_into().expect("eight")))
        .collect())
}

/// What is on record for a case: the errors of each peer.
pub(crate) fn recorded(case: Case) -> [Errors; 2] {
    let key = format!("{}\t{}\t", case.name(), case.number.name());
    let mut lines = RECORDED.lines().filter_map(|line| line.strip_prefix(&key));
    NAMES.map(|peer| {
        let line = lines.next().and_then(|line| line.strip_prefix(peer));
        let line = line.unwrap_or_else(|| panic!("{peer} is not on record for {key}"));
        let numbers = line.split('\t').skip(1);
        let numbers: Vec<f64> = numbers
            .map(|number| number.parse().expect("a number"))
            .collect();
        let spread = |at: usize| Spread {
            largest: numbers[at],
            median: numbers[at + 1],
        };
        Errors {
            loss: spread(0),
            gradient: (numbers.len() > 2).then(|| spread(2)),
        }
    })
}
