/** Codes as a picture: a column a frame, a row a codebook, a colour a code. */

const GAP = 1;

export class Raster {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  #rows: number;
  readonly #size: number;
  #columns: number;
  #frames: ArrayLike<number>[] = [];
  #head: number | undefined;

  /**
   * @param rows codebooks.
   * @param size entries of a codebook.
   * @param columns frames that fit; more of them begin again at the left.
   */
  constructor(canvas: HTMLCanvasElement, rows: number, size: number, columns: number) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d")!;
    this.#rows = rows;
    this.#size = size;
    this.#columns = columns;
    new ResizeObserver(() => this.#fit()).observe(canvas);
    this.#fit();
  }

  /** Begins anew, with other frames or codebooks where they are given. */
  clear(columns: number = this.#columns, rows: number = this.#rows): void {
    this.#columns = columns;
    this.#rows = rows;
    this.#frames = [];
    this.#head = undefined;
    this.#draw();
  }

  /** The next frame. */
  push(codes: ArrayLike<number>): void {
    this.#frames.push(codes);
    // A picture that is full begins again; only what is in it is kept.
    if (this.#frames.length > this.#columns) this.#frames = [codes];
    this.#head = undefined;
    this.#draw();
  }

  /** Frames before this one are bright, those after it wait. */
  playedTo(frame: number): void {
    this.#head = frame;
    this.#draw();
  }

  #fit(): void {
    const { clientWidth, clientHeight } = this.#canvas, ratio = devicePixelRatio;
    this.#canvas.width = Math.max(1, Math.round(clientWidth * ratio));
    this.#canvas.height = Math.max(1, Math.round(clientHeight * ratio));
    this.#draw();
  }

  #draw(): void {
    const { width, height } = this.#canvas, context = this.#context;
    const w = width / this.#columns, h = height / this.#rows;
    context.clearRect(0, 0, width, height);
    this.#frames.forEach((codes, x) => {
      context.globalAlpha = this.#head === undefined || x < this.#head ? 1 : 0.3;
      for (let y = 0; y < codes.length; y++) {
        context.fillStyle = `hsl(${Math.round(360 * codes[y] / this.#size)} 65% 55%)`;
        context.fillRect(x * w, y * h, Math.max(1, w - GAP), Math.max(1, h - GAP));
      }
    });
  }
}
