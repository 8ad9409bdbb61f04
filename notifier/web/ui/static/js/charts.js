// Two charts over the last minutes. uPlot draws them, in the colours of the page.
import { get } from "./api.js";
import { reportingErrors } from "./dialogs.js";
import { $, $$ } from "./dom.js";

const HEIGHT = 150;
/** @type {{place: HTMLElement, plot: uPlot}[]} */
const shown = [];
let range = 60; // minutes
/** @type {Minute[]} */
let history = [];

// The page's colour, in a form that a canvas understands.
function resolved(/** @type {string} */ name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function axes() {
  const grid = { stroke: resolved("--line"), width: 1 };
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const common = { stroke: resolved("--muted"), font, ticks: { show: false } };
  const times = [3600, 60, 1].map((seconds) => [seconds, "{HH}:{mm}"]);
  const steps = [0, 1, 2, 3, 4, 5].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));
  return [
    { ...common, grid: { show: false }, space: 70, size: 26, values: times },
    { ...common, grid, size: 44, space: 34, incrs: steps },
  ];
}

/** @type {(place: HTMLElement, series: [label: string, colour: string][]) => {place: HTMLElement, plot: uPlot}} */
function chart(place, series) {
  const drawn = series.map(([label, name]) => ({
    label,
    stroke: resolved(name),
    fill: resolved(`${name}-wash`),
    width: 1.5,
    points: { show: false },
  }));
  const options = {
    width: place.clientWidth,
    height: HEIGHT,
    padding: [8, 18, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: {
      y: {
        range: (/** @type {uPlot} */ _, /** @type {number} */ __, /** @type {number} */ most) => [
          0,
          Math.max(4, most * 1.1),
        ],
      },
    },
    axes: axes(),
    series: [{}, ...drawn],
  };
  const plot = new uPlot(options, [[], ...series.map(() => [])], place);
  plot.root.setAttribute("aria-hidden", "true");
  return { place, plot };
}

function draw() {
  for (const { plot } of shown.splice(0)) plot.destroy();
  shown.push(
    chart($("#chart-flow"), [
      ["sent", "--sent"],
      ["failed", "--failed"],
    ]),
    chart($("#chart-waiting"), [["waiting", "--waiting"]]),
  );
}

/**
 * The history with the latest minutes in it, as long as before. Null: minutes in between are missing.
 * @type {(history: Minute[], latest: Minute[]) => Minute[] | null}
 */
export function extended(history, latest) {
  const first = history.findIndex(({ at }) => at === latest[0].at);
  return first < 0 ? null : [...history.slice(0, first), ...latest].slice(-history.length);
}

// Every answer has the latest minutes. The others are fetched once, and again after a gap.
export async function showMinutes(/** @type {Minute[]} */ latest) {
  const longer = history.length < range ? null : extended(history, latest);
  history = longer ?? (await get(`/v1/stats/minutes?last=${range}`)).items;
  showHistory();
}

// The figures as columns, and as text for those who do not see the charts.
function showHistory() {
  const items = history.slice(-range);
  if (!items.length) return;
  const column = (/** @type {"sent" | "failed" | "waiting"} */ name) => items.map((each) => each[name]);
  const sum = (/** @type {number[]} */ numbers) => numbers.reduce((all, one) => all + one, 0);
  const at = items.map((each) => Date.parse(each.at) / 1000);
  const [sent, failed, waiting] = [column("sent"), column("failed"), column("waiting")];
  shown[0].plot.setData([at, sent, failed]);
  shown[1].plot.setData([at, waiting]);
  const span = `in the last ${range === 60 ? "hour" : `${range / 60} hours`}`;
  $("#chart-flow").setAttribute("aria-label", `${sum(sent)} sent and ${sum(failed)} failed ${span}`);
  $("#chart-waiting").setAttribute(
    "aria-label",
    `${waiting[waiting.length - 1]} waiting now, ${Math.max(...waiting)} at most ${span}`,
  );
}

export function startCharts() {
  draw();
  for (const button of $$("[data-minutes]")) {
    button.addEventListener("click", () => {
      range = Number(button.dataset.minutes);
      for (const each of $$("[data-minutes]")) each.setAttribute("aria-pressed", String(each === button));
      reportingErrors(() => showMinutes(history.slice(-2)));
    });
  }
  const fit = new ResizeObserver(() => {
    for (const { place, plot } of shown) {
      const width = place.clientWidth;
      if (width && width !== plot.width) plot.setSize({ width, height: HEIGHT });
    }
  });
  fit.observe($("#chart-flow"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    draw();
    showHistory();
  });
}
