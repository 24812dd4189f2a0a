//! The command line of the driver.

use std::path::PathBuf;

use crate::suites::Size;

pub const USAGE: &str = "usage: run [--quick | --smoke] [--no-python] [--only TEXT] [--avx2]
           [--threads N] [--rounds N]

--quick      a smaller form, a few minutes
--smoke      tiny shapes and no Python, to see that everything runs
--no-python  without PyTorch and JAX
--only TEXT  only the cases whose id contains TEXT, and no other table
--avx2       nothing above AVX2 in any engine that can be told (candle and burn can't)
--threads N  threads of every engine (2)
--rounds N   turns of every engine in each case (7; quick 5; smoke 1)";

pub struct Options {
    pub size: Size,
    /// The interpreter that has PyTorch and JAX.
    pub python: Option<PathBuf>,
    pub only: Option<String>,
    /// Nothing above AVX2.
    pub avx2: bool,
    pub threads: usize,
    pub rounds: usize,
}

impl Options {
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            size: Size::Full,
            python: std::env::var_os("PEERS_PYTHON").map(PathBuf::from),
            only: None,
            avx2: false,
            threads: 2,
            rounds: 0,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--quick" => options.size = Size::Quick,
                "--smoke" => options.size = Size::Smoke,
                "--no-python" => options.python = None,
                "--only" => options.only = Some(value()?),
                "--avx2" => options.avx2 = true,
                "--threads" => {
                    options.threads = value()?.parse().map_err(|_| "--threads needs a number")?
                }
                "--rounds" => {
                    options.rounds = value()?.parse().map_err(|_| "--rounds needs a number")?
                }
                "--help" => return Err(USAGE.into()),
                _ => return Err(format!("unknown option {argument}\n{USAGE}")),
            }
        }
        if options.rounds == 0 {
            options.rounds = match options.size {
                Size::Full => 7,
                Size::Quick => 5,
                Size::Smoke => 1,
            };
        }
        Ok(options)
    }
}
