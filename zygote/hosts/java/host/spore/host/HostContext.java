package spore.host;

import java.util.Map;
import spore.Context;

/** The context of one invocation. */
final class HostContext implements Context {
  private final Map<String, Object> load;
  private final byte[] body;
  private final int metaFrom;
  private final int metaLength;
  private Map<String, Object> meta; // null: nobody has asked yet

  /** What the invocation says of itself is JSON, so many bytes of {@code body}. */
  HostContext(Map<String, Object> load, byte[] body, int metaFrom, int metaLength) {
    this.load = load;
    this.body = body;
    this.metaFrom = metaFrom;
    this.metaLength = metaLength;
  }

  private synchronized Map<String, Object> meta() {
    if (meta == null) {
      try {
        meta = Json.readObject(body, metaFrom, metaLength);
      } catch (Json.Malformed e) {
        throw new IllegalStateException(e); // spored writes it
      }
    }
    return meta;
  }

  @Override
  public String getAwsRequestId() {
    return (String) meta().get("request_id");
  }

  @Override
  public String getFunctionName() {
    return (String) load.get("function_name");
  }

  @Override
  public String getFunctionVersion() {
    return (String) load.get("function_version");
  }

  @Override
  public String getInvokedFunctionArn() {
    return (String) meta().getOrDefault("arn", "");
  }

  @Override
  public String getLogGroupName() {
    return "/spore/" + getFunctionName();
  }

  @Override
  public String getLogStreamName() {
    Map<?, ?> environment = (Map<?, ?>) load.getOrDefault("environment", Map.of());
    Object name = environment.get("AWS_LAMBDA_LOG_STREAM_NAME");
    return name == null ? "" : name.toString();
  }

  @Override
  public int getMemoryLimitInMB() {
    return Integer.parseInt((String) load.get("memory_limit_in_mb"));
  }

  @Override
  public int getRemainingTimeInMillis() {
    long left = ((Number) meta().get("deadline_ms")).longValue() - System.currentTimeMillis();
    return (int) Math.max(0, Math.min(left, Integer.MAX_VALUE));
  }

  @Override
  @SuppressWarnings("unchecked")
  public Map<String, Object> getClientContext() {
    Object given = meta().get("client_context");
    return given instanceof Map ? (Map<String, Object>) given : Map.of();
  }

  @Override
  public void log(String message) {
    System.out.print(message);
    System.out.flush();
  }

  @Override
  public String toString() {
    return "Context(" + getFunctionName() + ", " + getAwsRequestId() + ")";
  }
}
