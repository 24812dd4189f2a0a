//! Markdown.

use crate::measure::Measured;
use crate::worker::{Engine, LIMIT, OURS, OURS_FRESH, PEERS};

/// A table with its header and rows, every row as long as the header.
pub fn markdown(header: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = vec!["---".to_string(); header.len()];
    let rows = rows.iter().map(|row| line(row));
    line(header) + &line(&rule) + &rows.collect::<String>()
}

/// Ours, every peer with its ratio to ours, the limit and the memory, a line a case.
pub fn against_peers(measured: &[Measured]) -> String {
    let present = |engine: &Engine| measured.iter().any(|case| case.of(*engine).is_some());
    let peers: Vec<Engine> = PEERS.into_iter().filter(present).collect();
    let mut header: Vec<String> = ["case (ms)", OURS.title, OURS_FRESH.title]
        .map(String::from)
        .into();
    header.extend(peers.iter().map(|peer| peer.title.to_string()));
    header.extend(
        [
            "best peer / ours",
            "share of the limit",
            "peak MiB, ours",
            "peak MiB, least of the peers",
        ]
        .map(String::from),
    );
    let rows: Vec<_> = measured
        .iter()
        .map(|case| peers_row(case, &peers))
        .collect();
    markdown(&header, &rows)
}

fn peers_row(case: &Measured, peers: &[Engine]) -> Vec<String> {
    let ours = case.of(OURS).map_or(f64::NAN, |figures| figures.ms);
    let beside = |engine: Engine| {
        let ms = case.of(engine).map(|figures| figures.ms);
        ms.map_or(String::new(), |ms| {
            format!("{} ({})", figure(ms), times(ms / ours))
        })
    };
    let all = || peers.iter().filter_map(|peer| case.of(*peer));
    let best = all().min_by(|a, b| a.ms.total_cmp(&b.ms));
    let least = all().map(|figures| figures.mib).min_by(f64::total_cmp);
    let limit = case.of(LIMIT).map_or(String::new(), |limit| {
        format!("{:.0} % of {}", 100.0 * limit.ms / ours, limit.note)
    });
    let mut row = vec![case.case.to_string(), figure(ours), beside(OURS_FRESH)];
    row.extend(peers.iter().map(|peer| beside(*peer)));
    row.push(best.map_or(String::new(), |best| {
        format!("**{}** {}", times(best.ms / ours), best.engine.title)
    }));
    row.push(limit);
    row.push(
        case.of(OURS)
            .map_or(String::new(), |figures| mib(figures.mib)),
    );
    row.push(least.map_or(String::new(), mib));
    row
}

/// Ours and the limit with one thread and with all.
pub fn scaling(measured: &[Measured]) -> String {
    let header = [
        "case (ms)",
        "ours, 1 thread",
        "ours",
        "speed-up",
        "limit's speed-up",
    ]
    .map(String::from);
    let row = |case: &Measured| {
        let ms = |engine: Engine| case.of(engine).map_or(f64::NAN, |figures| figures.ms);
        let ratio = |engine: Engine| times(ms(engine.on_one_thread()) / ms(engine));
        vec![
            case.case.to_string(),
            figure(ms(OURS.on_one_thread())),
            figure(ms(OURS)),
            ratio(OURS),
            ratio(LIMIT),
        ]
    };
    let rows: Vec<_> = measured.iter().map(row).collect();
    markdown(&header, &rows)
}

/// Time over n², relative to the first line.
pub fn growth(measured: &[Measured]) -> String {
    let header = [
        "case (ms)",
        "ours",
        "time / n², relative",
        "share of the limit",
        "peak MiB above the inputs",
    ]
    .map(String::from);
    let relative = |case: &Measured| {
        let rows = case.case.rows as f64;
        case.of(OURS)
            .map_or(f64::NAN, |figures| figures.ms / rows / rows)
    };
    let first = measured.first().map_or(f64::NAN, relative);
    let row = |case: &Measured| {
        let ours = case.of(OURS).map_or(f64::NAN, |figures| figures.ms);
        let limit = case.of(LIMIT).map_or(f64::NAN, |figures| figures.ms);
        let peak = case.of(OURS).map_or(f64::NAN, |figures| figures.mib);
        vec![
            case.case.to_string(),
            figure(ours),
            format!("{:.2}", relative(case) / first),
            format!("{:.0} %", 100.0 * limit / ours),
            mib(peak),
        ]
    };
    let rows: Vec<_> = measured.iter().map(row).collect();
    markdown(&header, &rows)
}

/// Engines that did not run a case, or did not agree, a line for each reason.
pub fn absences(measured: &[Measured]) -> String {
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for case in measured {
        for (engine, reason) in &case.absent {
            let why = format!("{}: {reason}", engine.title);
            let id = case.case.to_string();
            match lines.iter_mut().find(|(known, _)| *known == why) {
                Some((_, ids)) => ids.push(id),
                None => lines.push((why, vec![id])),
            }
        }
    }
    lines
        .iter()
        .map(|(why, ids)| format!("- {why} ({})\n", ids.join(", ")))
        .collect()
}

/// Three significant digits.
pub fn figure(value: f64) -> String {
    if value.is_nan() {
        return String::new();
    }
    let digits = 2 - value.abs().max(1e-3).log10().floor() as i32;
    format!("{value:.*}", digits.clamp(0, 4) as usize)
}

fn times(ratio: f64) -> String {
    format!("{}×", figure(ratio))
}

fn mib(value: f64) -> String {
    format!("{:.0}", value.max(0.0))
}
