/**
 * A picture of a recording, its codes, and what the codes sound like: one SVG file without references to others.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { AudioCodes } from "../core/codes.ts";
import { CODES, LEVELS, toHex } from "./colours.ts";
import { type Colour, encodePNG } from "./png.ts";
import { spectrogram } from "./spectrogram.ts";

/** What is drawn. */
export interface PictureInput {
  title: string;
  subtitle: string;
  /** Hz of both recordings. */
  samplingRate: number;
  /** Samples of a frame of codes. */
  frameSize: number;
  codebookSize: number;
  /** The first codebooks, which carry the words more than the sound. */
  semantic: number;
  /** [samples] */
  original: Float32Array;
  /** [samples], as many. */
  decoded: Float32Array;
  /** [1, codebooks, frames] */
  codes: AudioCodes;
}

/** Where things are, in units of the picture. */
const WIDTH = 1200, LEFT = 140, RIGHT = 1100, ACROSS = RIGHT - LEFT;
const TOP = 124, WAVE = 84, SPECTRUM = 188, ROW = 20, GAP = 14, SECTION = 42;
/** Highest frequency that is drawn, Hz, and the range of levels below the loudest, dB. */
const HIGHEST = 8000, RANGE = 75;
const INK = "#24292f", FAINT = "#6e7781", LINE = "#d0d7de", ORIGINAL = "#2f6690", DECODED = "#a23b72";

/** The picture, as the text of an SVG file. */
export function picture(input: PictureInput): string {
  const { original, decoded, codes, samplingRate } = input, seconds = original.length / samplingRate;
  const parts: string[] = [], peak = Math.max(largest(original), largest(decoded), 1e-4);
  const spectra = [original, decoded].map((audio) => spectrogram(audio, samplingRate, ACROSS, HIGHEST));
  const loudest = Math.max(...spectra.map(({ levels }) => levels.reduce((a, b) => Math.max(a, b))));

  let y = TOP;
  [original, decoded].forEach((audio, i) => {
    const { rows, levels } = spectra[i], name = ["Original", "Decoded"][i], colour = [ORIGINAL, DECODED][i];
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

/** A row of coloured cells for each codebook of [first, end), each as wide as its frame is long. */
function codeRows(y: number, input: PictureInput, first: number, end: number): string {
  const { codes: { data, shape: [, , frames] }, codebookSize, frameSize, original } = input, out: string[] = [];
  for (let k = first; k < end; k++) {
    const top = y + (k - first) * ROW;
    for (let t = 0; t < frames; t++) {
      const from = LEFT + ACROSS * t * frameSize / original.length,
        to = Math.min(RIGHT, from + ACROSS * frameSize / original.length);
      const colour = CODES[Math.round(data[k * frames + t] / (codebookSize - 1) * 255)];
      out.push(
        `<rect x="${from.toFixed(2)}" y="${top + 0.5}" width="${(to - from - 0.6).toFixed(2)}" height="${
          ROW - 1
        }" fill="${toHex(colour)}"/>`,
      );
    }
    out.push(text(LEFT - 10, top + ROW / 2 + 4.5, String(k), `text-anchor="end" fill="${FAINT}" font-size="12"`));
  }
  return out.join("");
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

function largest(audio: Float32Array): number {
  return audio.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
}
