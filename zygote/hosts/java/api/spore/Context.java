package spore;

import java.util.Map;

/** What a handler may ask about the invocation it serves; named as on AWS Lambda. */
public interface Context {
  String getAwsRequestId();

  String getFunctionName();

  String getFunctionVersion();

  String getInvokedFunctionArn();

  String getLogGroupName();

  String getLogStreamName();

  int getMemoryLimitInMB();

  /** Until the invocation's deadline; 0 when it has passed. */
  int getRemainingTimeInMillis();

  /** What the caller sent as client context; empty when nothing was sent. */
  Map<String, Object> getClientContext();

  /** Writes to the function's log as it is: end lines with a newline. */
  void log(String message);
}
