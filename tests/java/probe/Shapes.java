package probe;

import java.util.List;
import java.util.Map;
import spore.Context;
import spore.RequestHandler;

/** The shapes a handler may have. */
public final class Shapes {
  public record Order(String id, int count, List<String> tags) {}

  public static class Answer {
    public String text;
    public double total;
    byte[] raw = {1, 2, 3};
  }

  public static class Typed implements RequestHandler<Order, Answer> {
    @Override
    public Answer handleRequest(Order order, Context context) {
      Answer answer = new Answer();
      answer.text = order.id() + order.tags();
      answer.total = order.count() * 1.5;
      return answer;
    }
  }

  public static class Text implements RequestHandler<String, String> {
    @Override
    public String handleRequest(String event, Context context) {
      return event + "!";
    }
  }

  public static class Numbers implements RequestHandler<List<Object>, List<String>> {
    @Override
    public List<String> handleRequest(List<Object> event, Context context) {
      return event.stream().map(value -> value == null ? "null" : value.getClass().getSimpleName()).toList();
    }
  }

  public static class Plain {
    private int calls;

    public Object handle(Map<String, Object> event, Context context) {
      return Map.of("event", event, "name", context.getFunctionName(), "calls", ++calls);
    }

    public int add(Map<String, Integer> event) {
      return event.get("a") + event.get("b");
    }

    public void nothing(Context context) {
      context.log("logged through the context\n");
    }

    public static String fixed() {
      return "static";
    }

    public Object odd(int a, int b, int c) {
      return a + b + c;
    }
  }

  public static class Described {
    public Object handle(Object event, Context context) throws InterruptedException {
      int remaining = context.getRemainingTimeInMillis();
      Thread.sleep(30);
      return Map.of(
          "function_name", context.getFunctionName(),
          "function_version", context.getFunctionVersion(),
          "invoked_function_arn", context.getInvokedFunctionArn(),
          "memory_limit_in_mb", context.getMemoryLimitInMB(),
          "aws_request_id", context.getAwsRequestId(),
          "log_group_name", context.getLogGroupName(),
          "remaining", remaining,
          "later", context.getRemainingTimeInMillis(),
          "custom", context.getClientContext());
    }
  }

  private Shapes() {}
}
