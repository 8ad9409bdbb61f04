// Two charts over the last minutes. uPlot draws them, in the colours of the page.
import { get } from "./api.js";
import { $, $$ } from "./dom.js";

const HEIGHT = 150;
const shown = [];
let minutes = 60;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const resolved = (name) => {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
};

function axes() {
  const grid = { stroke: resolved("--line"), width: 1 };
  const font = `11px ${colour("--font")}`;
  const common = { stroke: resolved("--soft"), font, ticks: { show: false } };
  return [
    { ...common, grid: { show: false }, space: 70, size: 26, values: [[3600, "{HH}:{mm}"], [60, "{HH}:{mm}"], [1, "{HH}:{mm}"]] },
    { ...common, grid, size: 44, space: 34, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000] },
  ];
}

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
    scales: { y: { range: (_, __, most) => [0, Math.max(4, most * 1.1)] } },
    axes: axes(),
    series: [{}, ...drawn],
  };
  const plot = new uPlot(options, [[], ...series.map(() => [])], place);
  plot.root.setAttribute("aria-hidden", "true");
  return { place, plot };
}

function draw() {
  for (const { plot } of shown.splice(0)) plot.destroy();
  shown.push(chart($("#chart-flow"), [["sent", "--sent"], ["failed", "--failed"]]));
  shown.push(chart($("#chart-waiting"), [["waiting", "--waiting"]]));
}

// The figures as columns, and the same in words for those who do not see the charts.
export async function showMinutes() {
  const { items } = await get(`/v1/stats/minutes?last=${minutes}`);
  const column = (name) => items.map((each) => each[name]);
  const at = items.map((each) => Date.parse(each.at) / 1000);
  shown[0].plot.setData([at, column("sent"), column("failed")]);
  shown[1].plot.setData([at, column("waiting")]);
  const sum = (name) => column(name).reduce((all, one) => all + one, 0);
  const span = `in the last ${minutes === 60 ? "hour" : `${minutes / 60} hours`}`;
  $("#chart-flow").setAttribute("aria-label", `${sum("sent")} sent and ${sum("failed")} failed ${span}`);
  $("#chart-waiting").setAttribute("aria-label", `${items.at(-1).waiting} waiting now, ${Math.max(...column("waiting"))} at most ${span}`);
  return items;
}

export function startCharts() {
  draw();
  for (const button of $$("[data-minutes]")) {
    button.addEventListener("click", () => {
      minutes = Number(button.dataset.minutes);
      for (const each of $$("[data-minutes]")) each.setAttribute("aria-pressed", each === button);
      showMinutes();
    });
  }
  const fit = new ResizeObserver(() => {
    for (const { place, plot } of shown) {
      if (place.clientWidth && place.clientWidth !== plot.width) plot.setSize({ width: place.clientWidth, height: HEIGHT });
    }
  });
  fit.observe($("#chart-flow"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    draw();
    showMinutes();
  });
}
