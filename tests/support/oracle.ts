/**
 * The slow backend that others are held against: the layers' formulas as written in network.ts, in float64, with plain
 * loops and Math. Streams keep all their past rows; only `save` cuts them to what the canonical state holds.
 */
import type { Backend, Ports, Program, State, StateData, TensorSource } from "../../src/core/backend.ts";
import { ropeAngle, ropeFrequencies } from "../../src/core/math.ts";
import {
  type AttentionLayer,
  codebookTensors,
  latentChannels,
  type Layer,
  type LinearLayer,
  type Network,
  networkState,
  networkTensors,
  padLeft,
  positionsAfter,
  projections,
  type ResidualQuantizer,
  stateOf,
  taps,
} from "../../src/core/network.ts";

type Rows = Float64Array[];

/** What a stream remembers: rows of each stateful layer, by name, and how far it is. */
interface OracleState extends State {
  frames: number;
  past: Map<string, Rows>;
  positions: Map<string, number>;
}

interface Pass {
  state: OracleState;
  codes: Uint16Array;
  codebooks: number;
}

const erf = (x: number): number => {
  if (Math.abs(x) > 6) return Math.sign(x);
  let sum = x, term = x;
  for (let n = 1; n < 400 && Math.abs(term) > 1e-18; n++) {
    term *= -x * x / n;
    sum += term / (2 * n + 1);
  }
  return sum * 2 / Math.sqrt(Math.PI);
};

export function oracle(): Backend {
  return {
    name: "oracle",
    sync: true,
    available: () => Promise.resolve(true),
    async compile(network: Network, source: TensorSource): Promise<Program> {
      const tensors = new Map<string, Float32Array>();
      for (const spec of networkTensors(network)) tensors.set(spec.name, await source.read(spec));
      return new OracleProgram(network, tensors);
    },
  };
}

/** Runs layers over whole rows, from the start of a stream; for tests of single layers. */
export function oracleRows(
  layers: Layer[],
  tensors: Map<string, Float32Array>,
  rows: Rows,
  direction: "encode" | "decode" = "encode",
): Rows {
  const program = new OracleProgram({ direction, frameSize: 1, layers }, tensors);
  return program.chain(layers, rows, {
    state: program.createState() as OracleState,
    codes: new Uint16Array(0),
    codebooks: 0,
  });
}

class OracleProgram implements Program {
  readonly memory = { weights: 0, state: 0, total: 0 };
  readonly #network: Network;
  readonly #tensors: Map<string, Float32Array>;

  constructor(network: Network, tensors: Map<string, Float32Array>) {
    this.#network = network;
    this.#tensors = tensors;
  }

  createState(): State {
    const state: OracleState = { frames: 0, past: new Map(), positions: new Map() };
    return state;
  }
  freeState(): void {}
  close(): void {}
  reset(state: State): void {
    Object.assign(state, this.createState());
  }

  step(rows: State[], ports: Ports, frames: number): void {
    rows.forEach((row, i) => {
      const state = row as OracleState, pass = { state, codes: ports.codes[i], codebooks: ports.codebooks };
      const latents = ports.latents?.[i], channels = latentChannels(this.#network) ?? 0;
      if (this.#network.direction === "encode") {
        const out = this.chain(this.#network.layers, Array.from(ports.audio[i], (v) => Float64Array.of(v)), pass);
        out.forEach((row, t) => latents?.set(row, t * channels));
      } else {
        const rows = Array.from(
          { length: frames },
          (_, t) => Float64Array.from(latents?.subarray(t * channels, (t + 1) * channels) ?? []),
        );
        ports.audio[i].set(this.chain(this.#network.layers, rows, pass).map((r) => r[0]));
      }
      state.frames += frames;
    });
  }

  save(state: State): StateData {
    const { frames, past } = state as OracleState;
    const tensors = networkState(this.#network).map(({ name, shape }) => {
      const rows = past.get(name) ?? [], [heads, kept, width] = shape.length === 3 ? shape : [1, ...shape];
      const out = new Float32Array(heads * kept * width), newest = rows.slice(Math.max(0, rows.length - kept));
      newest.forEach((row, r) => {
        for (let h = 0; h < heads; h++) {
          for (let c = 0; c < width; c++) out[(h * kept + kept - newest.length + r) * width + c] = row[h * width + c];
        }
      });
      return out;
    });
    return { frames, tensors };
  }

  load(state: State, data: StateData): void {
    this.reset(state);
    const s = state as OracleState;
    s.frames = data.frames;
    if (data.frames === 0) return;
    const perFrame = new Map<string, number>();
    this.#positions(this.#network.layers, this.#network.direction === "encode" ? this.#network.frameSize : 1, perFrame);
    networkState(this.#network).forEach(({ name, shape }, i) => {
      const [heads, kept, width] = shape.length === 3 ? shape : [1, ...shape];
      const rows = Array.from({ length: kept }, (_, r) => {
        const row = new Float64Array(heads * width);
        for (let h = 0; h < heads; h++) {
          for (let c = 0; c < width; c++) row[h * width + c] = data.tensors[i][(h * kept + r) * width + c];
        }
        return row;
      });
      const seen = data.frames * (perFrame.get(name) ?? 0);
      s.past.set(name, shape.length === 3 ? rows.slice(kept - Math.min(kept, seen)) : rows);
      s.positions.set(name.replace(/\.(keys|values)$/, ""), seen);
    });
  }

  #positions(layers: readonly Layer[], positions: number, out: Map<string, number>): void {
    for (const layer of layers) {
      for (const { name } of stateOf(layer)) out.set(name, positions);
      if (layer.kind === "residual") [layer.branch, layer.shortcut].forEach((l) => this.#positions(l, positions, out));
      positions = positionsAfter(layer, positions);
    }
  }

  #tensor(name: string): Float32Array {
    return this.#tensors.get(name)!;
  }

  chain(layers: readonly Layer[], x: Rows, pass: Pass): Rows {
    for (const layer of layers) x = this.#layer(layer, x, pass);
    return x;
  }

  #layer(layer: Layer, x: Rows, pass: Pass): Rows {
    switch (layer.kind) {
      case "elu":
        return x.map((row) => row.map((v) => v > 0 ? v : Math.expm1(v)));
      case "gelu":
        return x.map((row) => row.map((v) => v / 2 * (1 + erf(v / Math.SQRT2))));
      case "scale": {
        const scale = this.#tensor(`${layer.name}.scale`);
        return x.map((row) => row.map((v, c) => v * scale[c]));
      }
      case "linear":
        return this.#linear(layer, x);
      case "layerNorm": {
        const gain = this.#tensor(`${layer.name}.weight`), bias = this.#tensor(`${layer.name}.bias`);
        return x.map((row) => {
          const mean = row.reduce((a, b) => a + b, 0) / row.length;
          const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length;
          return row.map((v, c) => (v - mean) / Math.sqrt(variance + layer.eps) * gain[c] + bias[c]);
        });
      }
      case "residual": {
        const skip = this.chain(layer.shortcut, x, pass), y = this.chain(layer.branch, x, pass);
        return y.map((row, t) => row.map((v, c) => v + skip[t][c]));
      }
      case "conv": {
        const { inChannels, outChannels, kernel, stride, dilation, padMode } = layer, left = padLeft(layer);
        const weight = this.#tensor(`${layer.name}.weight`),
          bias = layer.bias ? this.#tensor(`${layer.name}.bias`) : undefined;
        const outside = (near: Float64Array) => padMode === "replicate" ? near : new Float64Array(inChannels);
        const past = pass.state.past.get(layer.name) ?? Array.from({ length: left }, () => outside(x[0]));
        const length = positionsAfter(layer, x.length);
        const padded = [
          ...past,
          ...x,
          ...Array.from({ length: length * stride - x.length }, () => outside(x[x.length - 1])),
        ];
        if (left) pass.state.past.set(layer.name, [...past, ...x].slice(-left));
        return Array.from({ length }, (_, t) =>
          Float64Array.from({ length: outChannels }, (_, o) => {
            let sum = bias?.[o] ?? 0;
            for (let c = 0; c < inChannels; c++) {
              for (let j = 0; j < kernel; j++) {
                sum += weight[(o * inChannels + c) * kernel + j] * padded[t * stride + j * dilation][c];
              }
            }
            return sum;
          }));
      }
      case "convTranspose": {
        const { inChannels, outChannels, kernel, stride, groups } = layer, kept = taps(layer) - 1;
        const weight = this.#tensor(`${layer.name}.weight`),
          bias = layer.bias ? this.#tensor(`${layer.name}.bias`) : undefined;
        const past = pass.state.past.get(layer.name) ??
          Array.from({ length: kept }, () => new Float64Array(inChannels));
        const rows = [...past, ...x], perIn = inChannels / groups, perOut = outChannels / groups;
        if (kept) pass.state.past.set(layer.name, rows.slice(-kept));
        const out = Array.from({ length: rows.length * stride + kernel }, () => new Float64Array(outChannels));
        rows.forEach((row, t) => {
          for (let c = 0; c < inChannels; c++) {
            for (let o = 0; o < perOut; o++) {
              for (let k = 0; k < kernel; k++) {
                out[t * stride + k][Math.floor(c / perIn) * perOut + o] += row[c] *
                  weight[(c * perOut + o) * kernel + k];
              }
            }
          }
        });
        return out.slice(kept * stride, rows.length * stride).map((row) => row.map((v, o) => v + (bias?.[o] ?? 0)));
      }
      case "attention":
        return this.#attention(layer, x, pass.state);
      case "quantize":
        layer.quantizers.reduce((first, q) => this.#quantize(q, x, pass, first), 0);
        return x;
      case "dequantize": {
        const parts: Rows[] = [];
        let first = 0;
        for (const q of layer.quantizers) {
          if (first < pass.codebooks) parts.push(this.#dequantize(q, x.length, pass, first));
          first += q.codebooks;
        }
        return parts[0].map((row, t) => row.map((_, c) => parts.reduce((sum, part) => sum + part[t][c], 0)));
      }
    }
  }

  #linear(layer: LinearLayer, x: Rows): Rows {
    const weight = this.#tensor(`${layer.name}.weight`),
      bias = layer.bias ? this.#tensor(`${layer.name}.bias`) : undefined;
    return x.map((row) =>
      Float64Array.from({ length: layer.outChannels }, (_, o) => {
        let sum = bias?.[o] ?? 0;
        for (let c = 0; c < layer.inChannels; c++) sum += weight[o * layer.inChannels + c] * row[c];
        return sum;
      })
    );
  }

  #attention(layer: AttentionLayer, x: Rows, state: OracleState): Rows {
    const { heads, keyValueHeads, headDim, window, ropeTheta } = layer, half = headDim / 2;
    const { query, key, value, output } = projections(layer), frequencies = ropeFrequencies(ropeTheta, headDim);
    const start = state.positions.get(layer.name) ?? 0;
    const rotated = (rows: Rows, count: number) =>
      rows.map((row, t) => {
        const out = new Float64Array(row.length);
        for (let h = 0; h < count; h++) {
          for (let j = 0; j < half; j++) {
            const angle = ropeAngle(start + t, frequencies[j]),
              a = row[h * headDim + j],
              b = row[h * headDim + half + j];
            out[h * headDim + j] = a * Math.cos(angle) - b * Math.sin(angle);
            out[h * headDim + half + j] = b * Math.cos(angle) + a * Math.sin(angle);
          }
        }
        return out;
      });
    const q = rotated(this.#linear(query, x), heads);
    const keys = [...state.past.get(`${layer.name}.keys`) ?? [], ...rotated(this.#linear(key, x), keyValueHeads)];
    const values = [...state.past.get(`${layer.name}.values`) ?? [], ...this.#linear(value, x)];
    const before = keys.length - x.length;
    state.past.set(`${layer.name}.keys`, keys);
    state.past.set(`${layer.name}.values`, values);
    state.positions.set(layer.name, start + x.length);
    const attended = q.map((row, t) => {
      const out = new Float64Array(heads * headDim), to = before + t, from = Math.max(0, to - window + 1);
      for (let h = 0; h < heads; h++) {
        const at = h * headDim, kv = Math.floor(h / (heads / keyValueHeads)) * headDim, scores: number[] = [];
        for (let p = from; p <= to; p++) {
          let sum = 0;
          for (let c = 0; c < headDim; c++) sum += row[at + c] * keys[p][kv + c];
          scores.push(sum / Math.sqrt(headDim));
        }
        const top = Math.max(...scores),
          weights = scores.map((s) => Math.exp(s - top)),
          all = weights.reduce((a, b) => a + b);
        weights.forEach((w, i) => {
          for (let c = 0; c < headDim; c++) out[at + c] += w / all * values[from + i][kv + c];
        });
      }
      return out;
    });
    return this.#linear(output, attended);
  }

  #entry(q: ResidualQuantizer, book: number, code: number): Float64Array {
    const { sum, usage } = codebookTensors(q, book),
      sums = this.#tensor(sum.name),
      used = Math.max(this.#tensor(usage.name)[code], 1e-5);
    return Float64Array.from({ length: q.dim }, (_, c) => Math.fround(sums[code * q.dim + c] / used));
  }

  #quantize(q: ResidualQuantizer, x: Rows, pass: Pass, first: number): number {
    const projection: LinearLayer = {
      kind: "linear",
      name: `${q.name}.input_proj`,
      inChannels: q.channels,
      outChannels: q.dim,
      bias: false,
    };
    const rows = q.projected ? this.#linear(projection, x) : x;
    rows.forEach((start, t) => {
      let residual = start;
      for (let i = 0; i < q.codebooks && first + i < pass.codebooks; i++) {
        let best = 0, nearest = Infinity;
        for (let e = 0; e < q.size; e++) {
          const distance = this.#entry(q, i, e).reduce((sum, v, c) => sum + (v - residual[c]) ** 2, 0);
          if (distance < nearest) [best, nearest] = [e, distance];
        }
        pass.codes[(first + i) * x.length + t] = best;
        const entry = this.#entry(q, i, best);
        residual = residual.map((v, c) => v - entry[c]);
      }
    });
    return first + q.codebooks;
  }

  #dequantize(q: ResidualQuantizer, frames: number, pass: Pass, first: number): Rows {
    const rows = Array.from({ length: frames }, (_, t) => {
      const sum = new Float64Array(q.dim);
      for (let i = 0; i < q.codebooks && first + i < pass.codebooks; i++) {
        this.#entry(q, i, pass.codes[(first + i) * frames + t]).forEach((v, c) => sum[c] += v);
      }
      return sum;
    });
    const projection: LinearLayer = {
      kind: "linear",
      name: `${q.name}.output_proj`,
      inChannels: q.dim,
      outChannels: q.channels,
      bias: false,
    };
    return q.projected ? this.#linear(projection, rows) : rows;
  }
}
