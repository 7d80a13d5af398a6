package spore;

/**
 * A function that takes one event and returns one result, both as JSON outside.
 *
 * <p>An {@code Object}, {@code Map} or {@code List} receives the event as maps, lists, strings,
 * numbers and booleans; any other class or record is filled by the names of its fields.
 */
@FunctionalInterface
public interface RequestHandler<I, O> {
  O handleRequest(I event, Context context) throws Exception;
}
