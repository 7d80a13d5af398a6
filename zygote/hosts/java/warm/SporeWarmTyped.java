import java.util.List;
import java.util.Map;
import spore.Context;
import spore.RequestHandler;

/** A handler with types of its own, a record and a bean, which the host reads and writes by reflection. */
public final class SporeWarmTyped implements RequestHandler<SporeWarmOrder, SporeWarmAnswer> {
  @Override
  public SporeWarmAnswer handleRequest(SporeWarmOrder order, Context context) {
    SporeWarmAnswer answer = new SporeWarmAnswer();
    answer.text = order.text();
    answer.order = order;
    return answer;
  }

  public SporeWarmAnswer handle(SporeWarmAnswer answer) {
    return answer;
  }
}

/** Its fields are those of the host's events (WarmUp.java). */
record SporeWarmOrder(
    List<Object> a, Map<String, Object> c, List<Number> list, boolean f, String text, Object nested) {}

final class SporeWarmAnswer {
  String text;
  boolean f = true;
  int count = 1;
  long id = 2;
  double total = 2.5;
  byte[] raw = {1, 2, 3};
  Integer boxed = 3;
  List<String> lines = List.of("a", "b");
  Map<String, Integer> counts = Map.of("a", 1);
  SporeWarmSide side = SporeWarmSide.LEFT;
  SporeWarmOrder order;
}

enum SporeWarmSide {
  LEFT
}
