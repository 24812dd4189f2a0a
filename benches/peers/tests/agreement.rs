//! Ours, candle and burn compute the same losses and the same gradients.

use std::path::PathBuf;

use contrastive_peers::agreement::{Difference, Outcome};
use contrastive_peers::case::Case;
use contrastive_peers::engines;
use contrastive_peers::inputs;
use contrastive_peers::suites::SMOKE;

fn outcome(engine: &str, case: &Case, folder: &std::path::Path) -> Result<Outcome, String> {
    let mut session = engines::open(engine, case, folder)?;
    session.step();
    // The second call reuses what the first one left.
    let loss = session.step();
    Ok(Outcome {
        loss,
        gradients: session.gradients(),
    })
}

#[test]
fn every_engine_computes_the_same_loss_and_gradients() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("agreement");
    for id in SMOKE {
        let case: Case = id.parse().unwrap();
        inputs::write_files(&case, &folder).unwrap();
        let ours = outcome("ours", &case, &folder).unwrap();
        let gradients = if case.backward {
            case.inputs().len()
        } else {
            0
        };
        assert_eq!(ours.gradients.len(), gradients, "{id}");
        for engine in ["fresh", "candle", "burn"] {
            let other = outcome(engine, &case, &folder);
            let is_run = match engine {
                "fresh" => case.backward, // else there are no gradients to allocate
                _ => !case.double,
            };
            if !is_run {
                assert!(other.is_err(), "{id}: {engine}");
                continue;
            }
            let other = other.unwrap_or_else(|reason| panic!("{id}: {engine}: {reason}"));
            let difference = Difference::between(&ours, &other);
            assert!(
                difference.is_tolerable(&case),
                "{id}: {engine}: {difference}"
            );
        }
    }
}

#[test]
fn ids_survive_parsing_and_printing() {
    for id in SMOKE {
        assert_eq!(id.parse::<Case>().unwrap().to_string(), *id);
    }
    for wrong in [
        "",
        "info_nce",
        "info_nce/sideways/8x8",
        "info_nce/forward/8",
        "info_nce/forward/8x8/f16",
        "ntxent/forward/8x8",
    ] {
        assert!(wrong.parse::<Case>().is_err(), "{wrong}");
    }
}
