// The `context` of an invocation, by AWS Lambda's names.
'use strict';

// `finish` is what context.done, succeed and fail come to: finish(error, result).
exports.make = function make(load, meta, finish) {
  const deadline = meta.deadline_ms;
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName: load.function_name,
    functionVersion: load.function_version,
    memoryLimitInMB: load.memory_limit_in_mb,
    awsRequestId: meta.request_id,
    invokedFunctionArn: meta.arn ?? '',
    logGroupName: '/spore/' + load.function_name,
    logStreamName: load.environment?.AWS_LAMBDA_LOG_STREAM_NAME ?? '',
    identity: undefined,
    clientContext: meta.client_context,
    getRemainingTimeInMillis: () => Math.max(0, Math.floor(deadline - Date.now())),
    done: (error, result) => finish(error, result),
    succeed: (result) => finish(null, result),
    fail: (error) => finish(error ?? new Error('the handler called context.fail()')),
  };
};
