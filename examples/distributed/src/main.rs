//! `mpirun -n 3 … check`, `… train`, and without `mpirun`: `… paper`. See `README.md`.

use contrastive_distributed::{check, paper, train};
use mpi::Threading;
use mpi::traits::Communicator;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["paper"] => Ok(paper::print()?),
        ["train"] => {
            // The losses use threads of their own, which never call MPI.
            let (universe, _) =
                mpi::initialize_with_threading(Threading::Funneled).ok_or("MPI is initialised")?;
            Ok(train::run(&universe.world())?)
        }
        ["check", ref rows @ ..] => {
            let rows = rows
                .iter()
                .map(|rows| rows.parse())
                .collect::<Result<Vec<usize>, _>>()?;
            let (universe, _) =
                mpi::initialize_with_threading(Threading::Funneled).ok_or("MPI is initialised")?;
            let world = universe.world();
            if rows.len() != world.size() as usize {
                return Err("expected a number of rows for each rank".into());
            }
            if let Err(difference) = check::run(&world, &rows) {
                eprintln!("{difference}");
                world.abort(1);
            }
            Ok(())
        }
        _ => Err("expected: paper, train, or check and the rows of each rank".into()),
    }
}
