/** Curves with a legend, as one SVG file. */

export interface Curve {
  name: string;
  points: [x: number, y: number][];
}

interface Plot {
  title: string;
  subtitle: string;
  /** What the axes show. */
  x: string;
  y: string;
  curves: readonly Curve[];
}

const WIDTH = 960, HEIGHT = 560, LEFT = 80, RIGHT = 640, TOP = 90, BOTTOM = 490;
const COLOURS = [
  "#8c959f",
  "#57606a",
  "#a9c9e6",
  "#6aa5d6",
  "#2f78b7",
  "#174a7c",
  "#1b9e77",
  "#9467bd",
  "#d95f02",
  "#e6a04b",
  "#a63603",
];

export function drawCurves({ title, subtitle, x, y, curves }: Plot): string {
  const all = curves.flatMap(({ points }) => points), xs = all.map(([v]) => v), ys = all.map(([, v]) => v);
  const right = Math.max(...xs),
    low = Math.floor(Math.min(...ys) * 10) / 10,
    high = Math.ceil(Math.max(...ys) * 10) / 10;
  const px = (v: number) => LEFT + (RIGHT - LEFT) * v / right,
    py = (v: number) => BOTTOM - (BOTTOM - TOP) * (v - low) / (high - low);
  const text = (at: number, to: number, content: string, more = "") =>
    `<text x="${at.toFixed(1)}" y="${to.toFixed(1)}" ${more}>${
      content.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`)
    }</text>`;
  const parts: string[] = [];
  for (let v = low; v <= high + 1e-9; v += 0.1) {
    parts.push(`<path d="M${LEFT} ${py(v).toFixed(1)}H${RIGHT}" stroke="#d0d7de"/>`);
    parts.push(text(LEFT - 10, py(v) + 4.5, v.toFixed(1), 'text-anchor="end" fill="#6e7781"'));
  }
  for (let v = 0; v <= right; v += 10) {
    parts.push(text(px(v), BOTTOM + 22, String(v), 'text-anchor="middle" fill="#6e7781"'));
  }
  // Names stand at the height of their last point, or as near as others let them.
  const order = curves.map((_, i) => i).sort((a, b) => curves[b].points.at(-1)![1] - curves[a].points.at(-1)![1]);
  let free = TOP;
  const places = new Map(order.map((i) => {
    const at = Math.max(free, py(curves[i].points.at(-1)![1]));
    free = at + 22;
    return [i, at];
  }));
  curves.forEach(({ name, points }, i) => {
    const colour = COLOURS[i % COLOURS.length],
      path = points.map(([a, b]) => `${px(a).toFixed(1)} ${py(b).toFixed(1)}`).join("L");
    parts.push(`<path d="M${path}" fill="none" stroke="${colour}" stroke-width="2.5"/>`);
    parts.push(
      ...points.map(([a, b]) => `<circle cx="${px(a).toFixed(1)}" cy="${py(b).toFixed(1)}" r="3.5" fill="${colour}"/>`),
    );
    const [, last] = points.at(-1)!, place = places.get(i)!;
    parts.push(`<path d="M${RIGHT + 6} ${py(last).toFixed(1)}L${RIGHT + 24} ${place.toFixed(1)}" stroke="${colour}"/>`);
    parts.push(text(RIGHT + 30, place + 4.5, name, `fill="${colour}"`));
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" ` +
    `font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="13" fill="#24292f">
<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>
${text(LEFT, 38, title, 'font-size="22" font-weight="bold"')}
${text(LEFT, 62, subtitle, 'font-size="14" fill="#6e7781"')}
${parts.join("\n")}
${text((LEFT + RIGHT) / 2, BOTTOM + 48, x, 'text-anchor="middle" fill="#6e7781"')}
${
      text(
        28,
        (TOP + BOTTOM) / 2,
        y,
        `transform="rotate(-90 28 ${(TOP + BOTTOM) / 2})" text-anchor="middle" fill="#6e7781"`,
      )
    }
</svg>
`;
}
