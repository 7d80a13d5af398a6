// The smallest function in JavaScript.
export const handler = async (event) => ({ message: `hello, ${event?.name ?? 'world'}` });
