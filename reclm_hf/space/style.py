"""How the Space looks: colours with contrast enough in both themes, and a layout that fits a telephone."""

from __future__ import annotations

import gradio as gr

# Fonts of the visitor's own machine: a page that fetches none works offline and tells nobody who reads it.
_FONT = ["system-ui", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif"]
_MONO = ["ui-monospace", "Consolas", "DejaVu Sans Mono", "monospace"]


def theme() -> gr.themes.Base:
    """Gradio's plain theme in slate and indigo, with darker labels and hints than it has by itself."""
    return gr.themes.Default(
        primary_hue="indigo", secondary_hue="indigo", neutral_hue="slate", font=_FONT, font_mono=_MONO
    ).set(
        body_text_color="*neutral_900",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_300",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
    )


# Gradio puts its own container before each selector of a media query: those must not name it again.
CSS = """
.gradio-container { max-width: 1180px !important; width: 100%; margin-inline: auto !important; }
.gradio-container :is(.main, .contain, .column, .block) { min-width: 0; }
.gradio-container .label-wrap { text-align: start; }
.tab-container button.selected { color: var(--link-text-color) !important; }
/* The sentence is in the corner; what was shown before stays where it was. */
[data-testid="status-tracker"]:has(> .error) { display: none !important; }
.rl-go { align-self: flex-end; margin-bottom: .6rem; }
.gradio-container :focus-visible { outline: 3px solid var(--primary-500); outline-offset: 2px; }
.rl { --line: var(--border-color-primary); --soft: var(--background-fill-secondary); overflow-wrap: anywhere; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.rl h1 { font-size: 1.6rem; margin: 0; }
.rl h2 { font-size: 1.15rem; margin: .9rem 0 .35rem; }
.rl h3 { font-size: 1rem; margin: .8rem 0 .3rem; }
.rl p { margin: .35rem 0; }
.rl .quiet { font-size: .9rem; }
.rl .says { border-left: 4px solid var(--primary-500); background: var(--soft); padding: .5rem .75rem; }
.rl .two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
.rl .two > * { min-width: 0; }
.rl .box { overflow-x: auto; max-width: 100%; border: 1px solid var(--line); border-radius: 6px; }
.rl .tall { max-height: 16rem; overflow-y: auto; padding: .3rem .75rem; }
.rl table { border-collapse: collapse; width: 100%; font-size: .92rem; margin: 0; border: 0; }
.rl th, .rl td { padding: .35rem .5rem; border: 0; border-bottom: 1px solid var(--line);
  text-align: start; vertical-align: top; }
.rl thead th { background: var(--soft); font-weight: 600; white-space: nowrap; }
.rl tr { border: 0; }
.rl tbody:last-child tr:last-child > * { border-bottom: 0; }
.rl tbody th { font-weight: 500; }
.rl td.n, .rl th.n { text-align: end; white-space: nowrap; font-variant-numeric: tabular-nums; }
.rl th, .rl td { overflow-wrap: break-word; }
.rl td.title { min-width: 9rem; overflow-wrap: anywhere; }
.rl .quiet, .rl .quiet *, .rl small, .rl small * { color: var(--body-text-color-subdued); }
.rl tr.group th { background: var(--soft); font-weight: 700; padding-top: .6rem; }
.rl tr.group small { display: inline; font-weight: 400; margin-inline-start: .6rem; }
.rl .axis { display: flex; justify-content: space-between; min-width: 9rem; font-weight: 400; }
.rl summary { cursor: pointer; font-weight: 600; font-size: 1.15rem; padding: .4rem 0; }
.rl small { display: block; font-size: .82rem; }
.rl small.narrow { display: none; }
.rl .chip { display: inline-block; border: 1px solid var(--body-text-color); border-radius: 4px; padding: 0 .3rem;
  font-size: .76rem; line-height: 1.35; white-space: nowrap; }
.rl .bar { position: relative; display: block; height: .8rem; width: 100%; min-width: 5rem; background: var(--soft);
  border: 1px solid var(--line); }
.rl .bar i { position: absolute; top: 0; bottom: 0; background: var(--primary-500); }
.rl .bar i.minus { background: repeating-linear-gradient(45deg, var(--body-text-color) 0 2px, transparent 2px 5px); }
.rl .bar b { position: absolute; top: -2px; bottom: -2px; width: 2px; background: var(--body-text-color); }
.rl .line { position: relative; display: block; height: 1.1rem; min-width: 9rem; }
.rl .line i { position: absolute; top: 50%; height: 2px; margin-top: -1px; background: var(--body-text-color); }
.rl .line b { position: absolute; top: 50%; width: 9px; height: 9px; margin: -5px 0 0 -5px; border-radius: 50%;
  background: var(--primary-500); border: 1px solid var(--body-text-color); }
.rl .line u { position: absolute; top: 0; bottom: 0; width: 1px; background: var(--body-text-color-subdued); }
.rl .floor b { border-radius: 0; background: var(--body-background-fill); }
.rl .placebo b { transform: rotate(45deg); border-radius: 0; background: var(--body-background-fill); }
.rl ul.phrases { list-style: none; padding: 0; margin: 0; display: flex; flex-direction: column; gap: .35rem; }
.rl ul.phrases li { border-inline-start: 4px solid var(--line); padding-inline-start: .5rem; margin: 0; }
.rl ul.phrases li.own { border-color: var(--primary-500); }
.rl ul.phrases li.both { border-inline-start: 6px double var(--primary-500); }
.rl ul.phrases li.neighbour { border-style: dashed; border-color: var(--body-text-color-subdued); }
.rl ul.phrases li.none { border-style: dotted; border-color: var(--body-text-color-subdued); }
.rl td .bar { width: 6.5rem; }
.rl > .bar { max-width: 36rem; }
.rl ul.plain { list-style: none; margin: 0; padding: 0; }
.rl ul.plain li { margin: 0; padding: .15rem 0; }
.rl a { text-decoration: underline; }
.rl .ok::before { content: "✓ "; font-weight: 700; }
.rl .bad::before { content: "✗ "; font-weight: 700; }
@media (max-width: 640px) {
  .tab-container button { padding-inline: .45rem !important; }
  .rl th, .rl td { padding: .3rem .35rem; }
  .rl thead th { white-space: normal; }
  .rl td .bar { width: 4rem; min-width: 0; }
  .rl .parts tr { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)) 3.8rem;
    border-bottom: 1px solid var(--line); }
  .rl .parts tr > * { border: 0; min-width: 0; padding-inline: .2rem; }
  .rl .parts thead th { font-size: .62rem; padding-inline: .1rem; }
  .rl .wide { display: none; }
  .rl small.narrow { display: block; }
  .rl td.title { min-width: 6.5rem; }
  .rl .line, .rl .axis { min-width: 7rem; }
  .rl .parts td.n { font-size: .82rem; }
  .rl .parts tr > :first-child { grid-column: 1 / -1; padding-bottom: 0; }
  .rl .parts thead tr > :first-child { display: none; }
  .rl .parts td .bar { width: 100%; }
}
"""

# A screen reader announces what changes in a node that stays; Gradio puts each answer there whole, with its sentence.
ANNOUNCE = """
() => {
  const said = document.body.appendChild(document.createElement('div'));
  said.id = 'said'; said.className = 'unseen'; said.role = 'status';
  new MutationObserver(() => {
    const shown = [...document.querySelectorAll('.says')].filter(each => each.checkVisibility());
    const text = shown.map(each => each.textContent).join(' ');
    if (text !== said.textContent) said.textContent = text;
  }).observe(document.body, {childList: true, subtree: true, characterData: true});
}
"""
