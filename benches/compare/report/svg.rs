//! As much of SVG as the plots need, in colours that follow the reader's theme, light or dark.

use std::fmt::Write as _;

/// A drawing that grows.
pub(crate) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// Colours by what they stand for; a page that shows the file as an image passes on its theme.
const STYLE: &str = "
  text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .faint { fill: #59636e; } .right { text-anchor: end; } .middle { text-anchor: middle; }
  .line { stroke: #d1d9e0; stroke-width: 1; } .mark { stroke: #59636e; stroke-width: 1.5; }
  .good { fill: #1a7f37; } .even { fill: #9a6700; } .bad { fill: #cf222e; }
  .haproxy { fill: #0969da; } .nginx { fill: #8250df; } .envoy { fill: #bc4c00; }
  .a { fill: none; stroke: #0969da; stroke-width: 1.5; }
  .b { fill: none; stroke: #bc4c00; stroke-width: 1.5; }
  .back { fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; } .faint { fill: #9198a1; }
    .line { stroke: #3d444d; } .mark { stroke: #9198a1; }
    .good { fill: #3fb950; } .even { fill: #d29922; } .bad { fill: #f85149; }
    .haproxy { fill: #4493f8; } .nginx { fill: #ab7df8; } .envoy { fill: #db6d28; }
    .a { stroke: #4493f8; } .b { stroke: #db6d28; }
    .back { fill: #0d1117; }
  }
";

impl Svg {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    pub(crate) fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(self.body, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#);
    }

    pub(crate) fn bar(&mut self, class: &str, x: f64, y: f64, width: f64, height: f64) {
        let _ = writeln!(
            self.body,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2"/>"#
        );
    }

    pub(crate) fn dot(&mut self, class: &str, x: f64, y: f64) {
        let _ = writeln!(self.body, r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="4"/>"#);
    }

    pub(crate) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        );
    }

    pub(crate) fn curve(&mut self, class: &str, points: &[(f64, f64)]) {
        let points = points.iter().fold(String::new(), |mut line, (x, y)| {
            let _ = write!(line, "{x:.1},{y:.1} ");
            line
        });
        let _ = writeln!(self.body, r#"<polyline class="{class}" points="{}"/>"#, points.trim());
    }

    pub(crate) fn finish(self) -> String {
        let Self { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\">\n<style>{STYLE}</style>\n\
             <rect class=\"back\" width=\"{width}\" height=\"{height}\"/>\n{body}</svg>\n"
        )
    }
}
