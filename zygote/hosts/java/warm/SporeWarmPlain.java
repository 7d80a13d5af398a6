import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.Map;
import spore.Context;
import spore.RequestHandler;
import spore.RequestStreamHandler;

/**
 * Handlers of the host's own that are as small as can be, for what the host itself does: one of each
 * usual shape, since what a branch of compiled code has not seen is slow in a child.
 */
public final class SporeWarmPlain implements RequestHandler<Map<String, Object>, Object> {
  @Override
  public Object handleRequest(Map<String, Object> event, Context context) {
    return event;
  }
}

/** Of no interface: found and called by reflection. */
final class SporeWarmReflected {
  public SporeWarmReflected() {}

  public Object handle(Map<String, Object> event) {
    return event;
  }

  public Object handle(Map<String, Object> event, Context context) {
    return event;
  }

  public Object answer(Object event) {
    return event;
  }

  public static Object answerStatically(Map<String, Object> event) {
    return event;
  }
}

final class SporeWarmStream implements RequestStreamHandler {
  @Override
  public void handleRequest(InputStream event, OutputStream answer, Context context) throws IOException {
    event.transferTo(answer);
  }
}
