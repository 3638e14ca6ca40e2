/**
 * A lint rule: nothing between samples and codes may use functions whose last bit differs between engines. Addition,
 * multiplication, division, square root and rounding are exact everywhere; these are not (ECMA-262 leaves them to the
 * implementation). src/core/math.ts has replacements.
 */
const INEXACT = [
  "acos",
  "acosh",
  "asin",
  "asinh",
  "atan",
  "atan2",
  "atanh",
  "cbrt",
  "cos",
  "cosh",
  "exp",
  "expm1",
  "hypot",
  "log",
  "log10",
  "log1p",
  "log2",
  "pow",
  "random",
  "sin",
  "sinh",
  "tan",
  "tanh",
];
const PLACES = /[\\/]src[\\/](core|backends)[\\/]/;

const plugin: Deno.lint.Plugin = {
  name: "determinism",
  rules: {
    "no-inexact-math": {
      create(context) {
        if (!PLACES.test(context.filename)) return {};
        return {
          MemberExpression(node) {
            const { object, property } = node;
            if (object.type !== "Identifier" || object.name !== "Math") return;
            const name = property.type === "Identifier"
              ? property.name
              : property.type === "Literal"
              ? String(property.value)
              : "";
            if (INEXACT.includes(name)) {
              context.report({ node, message: `Math.${name} differs between engines; use src/core/math.ts.` });
            }
          },
          BinaryExpression(node) {
            // 2 ** integer is exact, as is a small integer to a small integer; a fraction is not.
            if ((node.operator as string) !== "**") return;
            const { right } = node;
            const integer = right.type === "Literal"
              ? Number.isInteger(right.value)
              : right.type !== "BinaryExpression";
            if (!integer) {
              context.report({ node, message: "** with a fraction differs between engines; use src/core/math.ts." });
            }
          },
        };
      },
    },
  },
};
export default plugin;
