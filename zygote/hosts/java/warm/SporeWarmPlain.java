import java.util.Map;
import spore.Context;
import spore.RequestHandler;

/** A handler of the host's own that is as small as can be, for what the host itself does. */
public final class SporeWarmPlain implements RequestHandler<Map<String, Object>, Object> {
  @Override
  public Object handleRequest(Map<String, Object> event, Context context) {
    return event;
  }

  /** The other usual shape, found and called by reflection. */
  public Object handle(Map<String, Object> event) {
    return event;
  }
}
