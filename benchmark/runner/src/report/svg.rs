//! The chart: one panel for each workload, one bar for each server, longer is better (shorter for idle
//! connections). Colours follow the reader's light or dark theme; there is no background, so it sits on
//! either.

use std::fmt::Write;

use super::{ContenderReport, Report, WorkloadReport, grouped};
use crate::catalogue::Role;
use crate::sample::Metric;

const WIDTH: f64 = 1060.0;
const MARGIN: f64 = 16.0;
const LABELS: f64 = 255.0;
/// What stands to the right of the longest bar: its figure, then two columns.
const FIGURES: f64 = 410.0;
const CPU_COLUMN: f64 = 150.0;
const ROW: f64 = 22.0;
const BAR: f64 = 14.0;
const TITLE: f64 = 30.0;
const GAP: f64 = 22.0;

const STYLE: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 14px }
.quiet { fill: #59636e; font-size: 12px }
.end { text-anchor: end }
.own { font-weight: 600 }
.floor rect { fill: #afb8c1 }
.switchboard rect { fill: #0969da }
.peer rect { fill: #d4a72c }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.quiet { fill: #9198a1 }
.floor rect { fill: #6e7681 }
.switchboard rect { fill: #4493f8 }
.peer rect { fill: #bb8009 }
}";

/// One panel: what its bars show.
struct Panel<'a> {
    title: String,
    unit: &'static str,
    metric: Metric,
    workload: &'a WorkloadReport,
}

pub(super) fn render(report: &Report) -> String {
    let panels: Vec<Panel> = report.workloads.iter().flat_map(panels).collect();
    let mut body = String::new();
    let mut y = MARGIN;
    for panel in &panels {
        y = panel.draw(&mut body, y);
    }
    let _ = writeln!(
        body,
        r#"<text class="quiet" x="{MARGIN}" y="{:.0}">{}</text>"#,
        y + 4.0,
        escape(&report.provenance())
    );
    let height = y + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" \
         aria-label=\"Benchmark of Switchboard and its peers\">\n<style>\n{STYLE}\n</style>\n{body}</svg>\n"
    )
}

fn panels(workload: &WorkloadReport) -> Vec<Panel<'_>> {
    let panel =
        |suffix: &str, unit, metric| Panel { title: workload.title.clone() + suffix, unit, metric, workload };
    if workload.is_idle() {
        vec![
            panel(": memory for each (less is better)", "bytes", Metric::RssBytes),
            panel(": CPU time to connect one (less is better)", "µs", Metric::ConnectUs),
        ]
    } else {
        vec![panel(" (messages a second)", "/s", Metric::PerSecond)]
    }
}

impl Panel<'_> {
    /// Draws the panel from `top` down; where the next one starts.
    fn draw(&self, out: &mut String, top: f64) -> f64 {
        let shown: Vec<(&ContenderReport, f64)> = self
            .workload
            .contenders
            .iter()
            // With two workers only the CPU time counts, which this chart does not show.
            .filter(|contender| contender.id != "switchboard-2-workers")
            .filter_map(|contender| Some((contender, contender.get(self.metric)?)))
            .collect();
        let longest = shown.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
        let floor = self.workload.floor().and_then(|floor| floor.get(self.metric));
        let _ = writeln!(
            out,
            r#"<text class="title" x="{MARGIN}" y="{:.0}">{}</text>"#,
            top + 16.0,
            escape(&self.title)
        );
        if self.metric == Metric::PerSecond {
            let end = WIDTH - MARGIN;
            for (x, head) in [(end - CPU_COLUMN, "CPU for each"), (end, "p50 / p99")] {
                let _ = writeln!(
                    out,
                    r#"<text class="quiet end" x="{x:.0}" y="{:.0}">{head}</text>"#,
                    top + 16.0
                );
            }
        }
        let mut y = top + TITLE;
        for (contender, value) in shown {
            self.draw_bar(out, y, contender, value, longest, floor);
            y += ROW;
        }
        y + GAP
    }

    fn draw_bar(
        &self,
        out: &mut String,
        y: f64,
        contender: &ContenderReport,
        value: f64,
        longest: f64,
        floor: Option<f64>,
    ) {
        let (class, weight) = match contender.role {
            Role::Floor => ("floor", ""),
            Role::Switchboard => ("switchboard", " own"),
            Role::Peer => ("peer", ""),
        };
        let start = MARGIN + LABELS;
        let length = (WIDTH - 2.0 * MARGIN - LABELS - FIGURES) * value / longest;
        let baseline = y + BAR - 3.0;
        let name = match contender.role {
            Role::Floor => contender.name.clone(),
            _ => format!("{}, {}", contender.name, contender.protocol),
        };
        let of_floor = match floor {
            Some(floor) if contender.role != Role::Floor => format!(" · {:.2} × floor", value / floor),
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "<g class=\"{class}\"><text class=\"end{weight}\" x=\"{:.0}\" y=\"{baseline:.0}\">{}</text>\
             <rect x=\"{start:.0}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>\
             <text class=\"quiet\" x=\"{:.1}\" y=\"{baseline:.0}\">{} {}{of_floor}</text></g>",
            start - 8.0,
            escape(&name),
            length.max(1.0),
            start + length + 8.0,
            grouped(value),
            self.unit,
        );
        draw_columns(out, baseline, contender);
    }
}

/// CPU time and latency, to the right.
fn draw_columns(out: &mut String, baseline: f64, contender: &ContenderReport) {
    let end = WIDTH - MARGIN;
    let cpu = contender.get(Metric::CpuNs).map(|cpu| format!("{} ns", grouped(cpu)));
    let latency = contender.get(Metric::P50Us).zip(contender.get(Metric::P99Us));
    let latency = latency.map(|(p50, p99)| format!("{} / {} µs", grouped(p50), grouped(p99)));
    for (x, text) in [(end - CPU_COLUMN, cpu), (end, latency)] {
        if let Some(text) = text {
            let _ = writeln!(out, r#"<text class="quiet end" x="{x:.0}" y="{baseline:.0}">{text}</text>"#);
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
