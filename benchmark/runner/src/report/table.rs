//! The tables, for a terminal and for a page.

use std::fmt::Write;

use super::{ContenderReport, Report, WorkloadReport, grouped};
use crate::bars::{BarReport, Verdict};
use crate::sample::Metric;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Terminal,
    Markdown,
}

struct Table {
    /// The columns' heads; the first `text` columns are text, the others numbers, which stand to the right.
    heads: Vec<&'static str>,
    text: usize,
    rows: Vec<Vec<String>>,
}

pub(super) fn render(report: &Report, style: Style) -> String {
    let mut out = String::new();
    let heading = |out: &mut String, text: &str| match style {
        Style::Terminal => writeln!(out, "{text}\n"),
        Style::Markdown => writeln!(out, "## {text}\n"),
    };
    if style == Style::Markdown {
        out.push_str(
            "# Benchmark results\n\nWritten by `./bench`; how to read it: [README](../README.md).\n\n",
        );
    }
    let _ = writeln!(out, "{}\n", report.provenance());
    for workload in &report.workloads {
        let _ = heading(&mut out, &workload.title);
        let table = if workload.is_idle() { idle_table(workload) } else { traffic_table(workload) };
        table.render(style, &mut out);
        for contender in &workload.contenders {
            for note in &contender.notes {
                let (name, protocol) = (&contender.name, &contender.protocol);
                let _ = match style {
                    Style::Terminal => writeln!(out, "  !! {name} ({protocol}): {note}"),
                    Style::Markdown => writeln!(out, "- {name} ({protocol}): {note}"),
                };
            }
        }
        out.push('\n');
    }
    if !report.bars.is_empty() {
        let _ = heading(&mut out, "Goals");
        bars_table(&report.bars).render(style, &mut out);
    }
    out
}

fn traffic_table(workload: &WorkloadReport) -> Table {
    let floor = workload.floor().and_then(|floor| floor.get(Metric::PerSecond));
    let row = |contender: &ContenderReport| {
        let number = |metric| contender.get(metric).map_or_else(dash, grouped);
        let percent =
            |metric| contender.get(metric).map_or_else(dash, |share| format!("{:.0} %", share * 100.0));
        let rate = contender.get(Metric::PerSecond);
        vec![
            contender.name.clone(),
            contender.protocol.clone(),
            number(Metric::PerSecond),
            contender
                .spread(Metric::PerSecond)
                .map_or_else(dash, |spread| format!("± {:.0} %", spread * 100.0)),
            ratio(rate, floor),
            advantage(workload, contender, Metric::PerSecond),
            number(Metric::CpuNs),
            advantage(workload, contender, Metric::CpuNs),
            number(Metric::P50Us),
            number(Metric::P99Us),
            number(Metric::P999Us),
            percent(Metric::ServerBusy),
            percent(Metric::LoadBusy),
        ]
    };
    Table {
        heads: vec![
            "server",
            "protocol",
            "messages/s",
            "spread",
            "× floor",
            "Switchboard ÷ it",
            "CPU ns/message",
            "Switchboard ÷ it",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "server busy",
            "load busy",
        ],
        text: 2,
        rows: workload.contenders.iter().map(row).collect(),
    }
}

fn idle_table(workload: &WorkloadReport) -> Table {
    let row = |contender: &ContenderReport| {
        let number = |metric| contender.get(metric).map_or_else(dash, grouped);
        vec![
            contender.name.clone(),
            contender.protocol.clone(),
            number(Metric::RssBytes),
            advantage(workload, contender, Metric::RssBytes),
            number(Metric::ConnectUs),
            advantage(workload, contender, Metric::ConnectUs),
        ]
    };
    Table {
        heads: vec![
            "server",
            "protocol",
            "RSS bytes each",
            "Switchboard ÷ it",
            "CPU µs to connect",
            "Switchboard ÷ it",
        ],
        text: 2,
        rows: workload.contenders.iter().map(row).collect(),
    }
}

fn bars_table(bars: &[BarReport]) -> Table {
    let row = |bar: &BarReport| {
        let verdict = match bar.verdict {
            Verdict::NotMeasured => "not measured",
            Verdict::Missed => "NOT REACHED",
            Verdict::Reached => "reached",
            Verdict::Stretch => "stretch reached",
        };
        let doubts = if bar.doubts.is_empty() || bar.verdict == Verdict::NotMeasured {
            String::new()
        } else {
            format!(" ({})", bar.doubts.join(", "))
        };
        let measured = if bar.measured.is_empty() { dash() } else { bar.measured.clone() };
        vec![
            bar.what.clone(),
            bar.at_least.clone(),
            bar.stretch.clone(),
            measured,
            verdict.to_owned() + &doubts,
        ]
    };
    Table {
        heads: vec!["what", "at least", "stretch", "measured", "verdict"],
        text: 5,
        rows: bars.iter().map(row).collect(),
    }
}

fn dash() -> String {
    "–".to_owned()
}

fn ratio(figure: Option<f64>, to: Option<f64>) -> String {
    match (figure, to) {
        (Some(figure), Some(to)) => format!("{:.2}", figure / to),
        _ => dash(),
    }
}

/// Switchboard's figure in the same protocol over this server's.
fn advantage(workload: &WorkloadReport, contender: &ContenderReport, metric: Metric) -> String {
    let own = workload.switchboard_beside(contender).filter(|own| own.id != contender.id);
    ratio(own.and_then(|own| own.get(metric)), contender.get(metric))
}

impl Table {
    fn render(&self, style: Style, out: &mut String) {
        let heads: Vec<String> = self.heads.iter().map(|&head| head.to_owned()).collect();
        if style == Style::Markdown {
            let rule = |index| if index < self.text { "---".to_owned() } else { "---:".to_owned() };
            let rule: Vec<String> = (0..heads.len()).map(rule).collect();
            for row in [&heads, &rule].into_iter().chain(&self.rows) {
                let _ = writeln!(out, "| {} |", row.join(" | "));
            }
            out.push('\n');
            return;
        }
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| &row[column]).chain([&heads[column]]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..heads.len()).map(width).collect();
        for row in [&heads].into_iter().chain(&self.rows) {
            let mut line = String::from(" ");
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ = if column < self.text {
                    write!(line, " {cell:width$} ")
                } else {
                    write!(line, " {cell:>width$} ")
                };
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
}
