/**
 * A picture of recordings and codes: one SVG file without references to others.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { AudioCodes } from "../core/codes.ts";
import { CODES, LEVELS } from "./colours.ts";
import { type Colour, encodePNG } from "./png.ts";
import { spectrogram } from "./spectrogram.ts";

/** What is drawn. */
export interface PictureInput {
  title: string;
  subtitle: string;
  /** Hz of the recordings. */
  samplingRate: number;
  /** Samples of a frame of codes. */
  frameSize: number;
  codebookSize: number;
  /** The first codebooks, which carry the words more than the sound. */
  semantic: number;
  /** What is heard, from the top: [samples], equally long. */
  recordings: { name: string; audio: Float32Array }[];
  /** [1, codebooks, frames] */
  codes: AudioCodes;
}

/** Where things are, in units of the picture. */
const WIDTH = 1200, LEFT = 140, RIGHT = 1100, ACROSS = RIGHT - LEFT;
const TOP = 124, WAVE = 84, SPECTRUM = 188, ROW = 20, GAP = 14, SECTION = 42;
/** Highest frequency that is drawn, Hz, and the range of levels below the loudest, dB. */
const HIGHEST = 8000, RANGE = 75;
const INK = "#24292f", FAINT = "#6e7781", LINE = "#d0d7de", COLOURS = ["#2f6690", "#a23b72"];

/** The picture, as the text of an SVG file. */
export function picture(input: PictureInput): string {
  const { recordings, codes, samplingRate } = input, seconds = lengthOf(input) / samplingRate;
  const parts: string[] = [], peak = Math.max(...recordings.map(({ audio }) => largest(audio)), 1e-4);
  const spectra = recordings.map(({ audio }) => spectrogram(audio, samplingRate, ACROSS, HIGHEST));
  const loudest = Math.max(...spectra.map(({ levels }) => levels.reduce((a, b) => Math.max(a, b))));

  let y = TOP;
  recordings.forEach(({ name, audio }, i) => {
    const { rows, levels } = spectra[i], colour = COLOURS[i % COLOURS.length];
    const pixels = Uint8Array.from(levels, (db) => 255 * Math.min(1, Math.max(0, (db - loudest + RANGE) / RANGE)));
    parts.push(heading(y - 12, name, colour), waveform(y, audio, peak, colour), frame(y, WAVE), wavePeak(y, peak));
    y += WAVE + GAP;
    parts.push(
      image(LEFT, y, ACROSS, SPECTRUM, encodePNG(ACROSS, rows, pixels, LEVELS)),
      frame(y, SPECTRUM),
      frequencies(y),
    );
    parts.push(colourBar(y, SPECTRUM, LEVELS, [`${Math.round(loudest)} dB`, `${Math.round(loudest - RANGE)} dB`]));
    y += SPECTRUM + SECTION;
  });

  const [, codebooks, frames] = codes.shape,
    semantic = Math.min(input.semantic, codebooks),
    acoustic = codebooks - semantic;
  const from = y;
  parts.push(
    heading(
      y - 12,
      "Codes",
      INK,
      `${frames} frames of ${codebooks} codes, one column every ${1000 * input.frameSize / samplingRate} ms`,
    ),
  );
  parts.push(codeRows(y, input, 0, semantic), side(y + ROW * semantic / 2, "semantic", "what is said"));
  y += ROW * semantic + (acoustic ? GAP : 0);
  if (acoustic) {
    parts.push(codeRows(y, input, semantic, codebooks), side(y + ROW * acoustic / 2, "acoustic", "how it sounds"));
    y += ROW * acoustic;
    parts.push(colourBar(y - ROW * acoustic, ROW * acoustic, CODES, [`code ${input.codebookSize - 1}`, "code 0"]));
  }
  parts.push(timeAxis(y, seconds, [TOP, from - SECTION]));
  const height = y + 64;

  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" ` +
    `font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="13" fill="${INK}">
<title>${escape(input.title)}</title>
<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>
${text(LEFT, 46, input.title, 'font-size="25" font-weight="bold"')}
${text(LEFT, 74, input.subtitle, `font-size="15" fill="${FAINT}"`)}
${parts.join("\n")}
</svg>
`;
}

/** The lowest and the highest sample of each column, joined by a line. */
function waveform(y: number, audio: Float32Array, peak: number, colour: string): string {
  const path: string[] = [], height = (v: number) => (y + WAVE / 2 * (1 - 0.95 * v / peak)).toFixed(1);
  for (let x = 0; x < ACROSS; x++) {
    const column = audio.subarray(Math.floor(x / ACROSS * audio.length), Math.ceil((x + 1) / ACROSS * audio.length));
    const low = column.reduce((a, b) => Math.min(a, b), Infinity),
      high = column.reduce((a, b) => Math.max(a, b), -Infinity);
    if (column.length) path.push(`${x ? "L" : "M"}${LEFT + x + 0.5} ${height(high)}V${height(low)}`);
  }
  return `<path d="${path.join("")}" fill="none" stroke="${colour}" stroke-width="1" stroke-linejoin="round"/>`;
}

function wavePeak(y: number, peak: number): string {
  return [[peak, 0.025], [0, 0.5], [-peak, 0.975]].map(([value, at]) =>
    tick(y + WAVE * at, value ? value.toFixed(2) : "0")
  ).join("") +
    text(LEFT - 68, y + WAVE / 2, "amplitude", sideways(LEFT - 68, y + WAVE / 2));
}

function frequencies(y: number): string {
  const marks = [0, 2, 4, 6, 8].map((kHz) => tick(y + SPECTRUM * (1 - kHz * 1000 / HIGHEST), String(kHz)));
  return marks.join("") + text(LEFT - 68, y + SPECTRUM / 2, "frequency (kHz)", sideways(LEFT - 68, y + SPECTRUM / 2));
}

/** Colours of codes, one less than there could be, and the white between the cells. */
const CELLS: readonly Colour[] = [...CODES.slice(0, 255), [255, 255, 255]], BLANK = 255;

/** A row of coloured cells for each codebook of [first, end), each as wide as its frame is long where there is room. */
function codeRows(y: number, input: PictureInput, first: number, end: number): string {
  const { codes: { data, shape: [, , frames] }, codebookSize, frameSize } = input, length = lengthOf(input);
  const pixels = new Uint8Array(ACROSS * (end - first) * ROW).fill(BLANK);
  const frameAt = (x: number) => Math.floor((x + 0.5) / ACROSS * length / frameSize);
  const apart = length / frameSize * 4 < ACROSS; // cells of 4 units have a gap between them
  for (let x = 0; x < ACROSS; x++) {
    const t = frameAt(x);
    if (t >= frames || (apart && frameAt(x + 1) !== t)) continue;
    for (let k = first; k < end; k++) {
      const colour = Math.round(data[k * frames + t] / (codebookSize - 1) * (BLANK - 1));
      for (let i = 1; i < ROW; i++) pixels[((k - first) * ROW + i) * ACROSS + x] = colour;
    }
  }
  const names = Array.from(
    { length: end - first },
    (_, i) =>
      text(
        LEFT - 10,
        y + i * ROW + ROW / 2 + 4.5,
        String(first + i),
        `text-anchor="end" fill="${FAINT}" font-size="12"`,
      ),
  );
  return image(LEFT, y, ACROSS, (end - first) * ROW, encodePNG(ACROSS, (end - first) * ROW, pixels, CELLS)) +
    names.join("");
}

/** What a block of codebooks is, in two lines on the left. */
function side(middle: number, name: string, meaning: string): string {
  return text(22, middle - 3, name, 'font-weight="bold"') +
    text(22, middle + 13, meaning, `fill="${FAINT}" font-size="12"`);
}

/** The scale below the lowest panel, and faint lines in the waveforms and spectrograms above. */
function timeAxis(y: number, seconds: number, [top, bottom]: [number, number]): string {
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 600].find((s) => seconds / s <= 12) ?? 3600,
    out: string[] = [];
  for (let i = 0; i * step <= seconds; i++) {
    const x = LEFT + ACROSS * i * step / seconds;
    out.push(
      line(x, top, x, bottom, `stroke="${FAINT}" stroke-opacity="0.25" stroke-dasharray="2 4"`),
      line(x, y + 4, x, y + 10, `stroke="${FAINT}"`),
    );
    out.push(text(x, y + 26, String(Number((i * step).toFixed(1))), 'text-anchor="middle"'));
  }
  return out.join("") + line(LEFT, y + 4, RIGHT, y + 4, `stroke="${FAINT}"`) +
    text(LEFT + ACROSS / 2, y + 48, "time (s)", `text-anchor="middle" fill="${FAINT}"`);
}

/** Which colour means what, right of a panel: the ends are labelled, from the top. */
function colourBar(y: number, height: number, colours: readonly Colour[], [high, low]: [string, string]): string {
  const pixels = Uint8Array.from(colours, (_, i) => colours.length - 1 - i), x = RIGHT + 16;
  return image(x, y, 12, height, encodePNG(1, colours.length, pixels, colours)) +
    text(x + 18, y + 11, high, 'font-size="12"') +
    text(x + 18, y + height - 2, low, 'font-size="12"');
}

function heading(y: number, name: string, colour: string, more: string = ""): string {
  return `<text x="${LEFT}" y="${y}"><tspan font-size="16" font-weight="bold" fill="${colour}">${
    escape(name)
  }</tspan>` +
    `<tspan dx="10" fill="${FAINT}">${escape(more)}</tspan></text>`;
}

function frame(y: number, height: number): string {
  return `<rect x="${LEFT}" y="${y}" width="${ACROSS}" height="${height}" fill="none" stroke="${LINE}"/>`;
}

function tick(y: number, label: string): string {
  return line(LEFT - 6, y, LEFT, y, `stroke="${FAINT}"`) +
    text(LEFT - 10, y + 4.5, label, `text-anchor="end" fill="${FAINT}" font-size="12"`);
}

function line(x1: number, y1: number, x2: number, y2: number, style: string): string {
  return `<line x1="${x1.toFixed(1)}" y1="${y1}" x2="${x2.toFixed(1)}" y2="${y2}" ${style}/>`;
}

function text(x: number, y: number, content: string, style: string): string {
  return `<text x="${x.toFixed(1)}" y="${y}" ${style}>${escape(content)}</text>`;
}

function sideways(x: number, y: number): string {
  return `transform="rotate(-90 ${x} ${y})" text-anchor="middle" fill="${FAINT}" font-size="12"`;
}

function image(x: number, y: number, width: number, height: number, png: Uint8Array): string {
  return `<image x="${x}" y="${y}" width="${width}" height="${height}" preserveAspectRatio="none" ` +
    `href="data:image/png;base64,${Buffer.from(png).toString("base64")}"/>`;
}

function escape(content: string): string {
  return content.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}

function lengthOf({ recordings }: PictureInput): number {
  return Math.max(1, ...recordings.map(({ audio }) => audio.length));
}

function largest(audio: Float32Array): number {
  return audio.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
}
