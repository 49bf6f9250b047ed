// Players at the same loudness, so that the louder one does not seem the better one.

// Turn all down to the quietest one; their levels in dB, or nothing if one cannot be decoded.
export async function match(players) {
  await Promise.all(players.map((each) => each.load()));
  const decoded = players.map((each) => each.surfer?.getDecodedData());
  if (!decoded.every(Boolean)) return undefined;
  const levels = await Promise.all(decoded.map(loudness));
  const quietest = Math.min(...levels);
  players.forEach((each, index) => each.surfer.setVolume(10 ** ((quietest - levels[index]) / 20)));
  return levels;
}

// Loudness in dB, after ITU-R BS.1770: two filters, then the mean power of the blocks that are not far below the rest.
async function loudness(buffer) {
  const context = new OfflineAudioContext(buffer.numberOfChannels, buffer.length, buffer.sampleRate);
  const source = new AudioBufferSourceNode(context, { buffer });
  const shelf = new BiquadFilterNode(context, { type: "highshelf", frequency: 1500, gain: 4 });
  const low = new BiquadFilterNode(context, { type: "highpass", frequency: 38, Q: 0.5 });
  source.connect(shelf).connect(low).connect(context.destination);
  source.start();
  const heard = await context.startRendering();
  const size = Math.round(0.4 * buffer.sampleRate);
  const blocks = [];
  for (let at = 0; at < heard.length; at += size) {
    let power = 0;
    for (let channel = 0; channel < heard.numberOfChannels; channel++) {
      const part = heard.getChannelData(channel).subarray(at, at + size);
      power += part.reduce((sum, value) => sum + value * value, 0) / part.length;
    }
    if (10 * Math.log10(power) > -69.3) blocks.push(power);
  }
  const mean = (some) => some.reduce((sum, value) => sum + value, 0) / some.length;
  const gate = mean(blocks) / 10;
  return blocks.length ? 10 * Math.log10(mean(blocks.filter((each) => each > gate))) : -70; // silence
}
