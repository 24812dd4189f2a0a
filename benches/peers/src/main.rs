//! `peers run …` drives; `peers serve ENGINE` is one of its workers; `peers memory ROWS DIM` measures one process's
//! peak memory; `peers probe` prints what the machine can do.

use std::process::ExitCode;

use contrastive_peers::{drive, footprint, options, probes, serve};

fn main() -> ExitCode {
    match command(std::env::args().skip(1).collect()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn command(arguments: Vec<String>) -> Result<bool, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |word: &str| {
        word.parse::<usize>()
            .map_err(|_| format!("{word} is not a number"))
    };
    match words[..] {
        ["run", ..] => {
            let options = options::Options::parse(arguments.into_iter().skip(1))?;
            return drive::drive(&options).map_err(|error| error.to_string());
        }
        ["serve", engine] => serve::serve(engine).map_err(|error| error.to_string())?,
        ["memory", rows, dim] => footprint::footprint(number(rows)?, number(dim)?),
        ["probe"] => print!("{}", probes::report()),
        _ => return Err(options::USAGE.into()),
    }
    Ok(true)
}
