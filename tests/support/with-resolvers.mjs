// node-web-audio-api 2 is made for Node 22, and this is all of it that Node 20 lacks.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new this((...settle) => [resolve, reject] = settle);
  return { promise, resolve, reject };
};
