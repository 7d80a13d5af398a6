// A handler of Spore's own: uses what handlers use, so that the zygote has it compiled.
'use strict';

const path = require('path');

class Greeting {
  constructor(name, times) {
    this.name = name;
    this.times = times;
  }

  text() {
    return Array.from({ length: this.times }, () => `hello ${this.name}`).join(', ');
  }
}

exports.handler = async function handler(event, context) {
  const greeting = new Greeting(event.name ?? 'nobody', 2);
  const encoded = JSON.stringify(Object.entries(event).filter(([, value]) => value !== null));
  return {
    text: await greeting.text(),
    length: encoded.length,
    file: path.basename(__filename),
    id: context.awsRequestId,
    left: context.getRemainingTimeInMillis(),
    home: process.env.HOME ?? '',
  };
};
