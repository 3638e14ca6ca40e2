/** Horizontal bars with their quartiles, as the text of an SVG file. */

export interface Bar {
  name: string;
  /** Whether it is this library. */
  ours: boolean;
  value: number;
  /** Quartiles. */
  low: number;
  high: number;
}

const WIDTH = 760, LEFT = 270, ROW = 22, GAP = 46;

/** Charts one below the other. */
export function bars(charts: readonly { title: string; bars: readonly Bar[] }[]): string {
  let y = 24;
  const parts: string[] = [];
  for (const { title, bars } of charts) {
    const scale = (WIDTH - LEFT - 60) / Math.max(...bars.map(({ high, value }) => Math.max(high, value)));
    parts.push(`<text x="10" y="${y}" class="title">${escaped(title)}</text>`);
    y += 12;
    for (const { name, ours, value, low, high } of [...bars].sort((a, b) => a.value - b.value)) {
      const middle = y + ROW / 2, end = LEFT + value * scale;
      parts.push(
        `<text x="${LEFT - 8}" y="${middle + 4}" text-anchor="end">${escaped(name)}</text>`,
        `<rect x="${LEFT}" y="${y + 3}" width="${(value * scale).toFixed(1)}" height="${ROW - 6}" class="${
          ours ? "ours" : "other"
        }"/>`,
        `<path d="M${(LEFT + low * scale).toFixed(1)} ${middle}H${(LEFT + high * scale).toFixed(1)}" class="spread"/>`,
        `<text x="${(Math.max(end, LEFT + high * scale) + 6).toFixed(1)}" y="${middle + 4}">${value.toFixed(1)}</text>`,
      );
      y += ROW;
    }
    y += GAP;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${
    y - GAP + 12
  }" font-family="sans-serif" font-size="13">
<style>rect.ours{fill:#0a7}rect.other{fill:#aab}text{fill:#222}.title{font-weight:bold}.spread{stroke:#222;stroke-width:1.5}
@media(prefers-color-scheme:dark){text{fill:#ddd}rect.other{fill:#667}.spread{stroke:#ddd}}</style>
${parts.join("\n")}
</svg>
`;
}

const escaped = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
