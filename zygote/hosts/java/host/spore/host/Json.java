package spore.host;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonParseException;
import com.google.gson.TypeAdapter;
import com.google.gson.reflect.TypeToken;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import com.google.gson.stream.JsonWriter;
import java.io.IOException;
import java.io.StringReader;
import java.io.StringWriter;
import java.lang.reflect.Type;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** JSON, strict in both directions. */
final class Json {
  static final int MAX_DEPTH = 1000;

  private static final Gson GSON =
      new GsonBuilder()
          .serializeNulls()
          .disableHtmlEscaping()
          .setObjectToNumberStrategy(Json::readNumber)
          .registerTypeAdapter(byte[].class, new Base64Bytes())
          .create();

  /** Not JSON, or not of the type asked for. */
  static final class Malformed extends Exception {
    private static final long serialVersionUID = 1;

    Malformed(String message) {
      super(message);
    }
  }

  /** Maps, lists, strings, numbers, booleans and null. An empty text is null. */
  static Object read(byte[] utf8, int from, int length) throws Malformed {
    return read(utf8, from, length, Object.class);
  }

  @SuppressWarnings("unchecked")
  static Map<String, Object> readObject(byte[] utf8, int from, int length) throws Malformed {
    return (Map<String, Object>) read(utf8, from, length);
  }

  static Object read(byte[] utf8, int from, int length, Type type) throws Malformed {
    if (length == 0) {
      return null;
    }
    try {
      CharBuffer text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(utf8, from, length));
      JsonReader reader = new JsonReader(new StringReader(text.toString()));
      Object value =
          type == Object.class ? readTree(reader, 0) : GSON.getAdapter(TypeToken.get(type)).read(reader);
      if (reader.peek() != JsonToken.END_DOCUMENT) {
        throw new Malformed("more text behind the value, " + place(reader));
      }
      return value;
    } catch (CharacterCodingException e) {
      throw new Malformed("not UTF-8 text");
    } catch (IOException | RuntimeException e) { // a constructor of the tenant's may be behind it
      throw new Malformed(Failure.messageOf(e));
    } catch (StackOverflowError e) {
      throw new Malformed("nested too deeply");
    }
  }

  private static String place(JsonReader reader) {
    return "at path " + reader.getPath();
  }

  private static Object readTree(JsonReader reader, int depth) throws IOException, Malformed {
    if (depth > MAX_DEPTH) {
      throw new Malformed("nested deeper than " + MAX_DEPTH);
    }
    switch (reader.peek()) {
      case BEGIN_OBJECT:
        Map<String, Object> map = new LinkedHashMap<>();
        reader.beginObject();
        while (reader.hasNext()) {
          String name = reader.nextName();
          map.put(name, readTree(reader, depth + 1));
        }
        reader.endObject();
        return map;
      case BEGIN_ARRAY:
        List<Object> list = new ArrayList<>();
        reader.beginArray();
        while (reader.hasNext()) {
          list.add(readTree(reader, depth + 1));
        }
        reader.endArray();
        return list;
      case STRING:
        return reader.nextString();
      case NUMBER:
        return readNumber(reader);
      case BOOLEAN:
        return reader.nextBoolean();
      case NULL:
        reader.nextNull();
        return null;
      default:
        throw new Malformed("a value expected " + place(reader));
    }
  }

  /** Integer, Long or BigInteger as it fits, Double when there is a fraction or an exponent. */
  private static Number readNumber(JsonReader reader) throws IOException {
    String text = reader.nextString();
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (c == '.' || c == 'e' || c == 'E') {
        return Double.valueOf(text);
      }
    }
    if (text.length() > 18) {
      BigInteger big = new BigInteger(text);
      return big.bitLength() < 64 ? (Number) big.longValue() : big;
    }
    long value = Long.parseLong(text);
    return value == (int) value ? (Number) (int) value : value;
  }

  /** Of a value whose text is known to be sound. */
  static byte[] write(Object value) {
    return GSON.toJson(value).getBytes(StandardCharsets.UTF_8);
  }

  /** Of what a tenant returned: any of its ways to fail is told. */
  static byte[] writeResult(Object value) throws Malformed {
    try {
      StringWriter out = new StringWriter();
      JsonWriter writer = new JsonWriter(out);
      writer.setSerializeNulls(true);
      writer.setHtmlSafe(false);
      writeAny(writer, value);
      ByteBuffer bytes = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(out.getBuffer()));
      byte[] exact = new byte[bytes.remaining()];
      bytes.get(exact);
      return exact;
    } catch (CharacterCodingException e) {
      throw new Malformed("the text holds half of a surrogate pair");
    } catch (StackOverflowError e) {
      throw new Malformed("nested too deeply, or endlessly");
    } catch (IOException | RuntimeException e) {
      throw new Malformed(Failure.messageOf(e));
    }
  }

  @SuppressWarnings("unchecked")
  private static void writeAny(JsonWriter writer, Object value) throws IOException {
    if (value == null) {
      writer.nullValue();
      return;
    }
    TypeAdapter<Object> adapter = GSON.getAdapter((Class<Object>) value.getClass());
    adapter.write(writer, value);
  }

  /** byte[] as base64 text, as Lambda's Java runtime has it. */
  private static final class Base64Bytes extends TypeAdapter<byte[]> {
    @Override
    public void write(JsonWriter writer, byte[] value) throws IOException {
      writer.value(value == null ? null : Base64.getEncoder().encodeToString(value));
    }

    @Override
    public byte[] read(JsonReader reader) throws IOException {
      if (reader.peek() == JsonToken.NULL) {
        reader.nextNull();
        return null;
      }
      try {
        return Base64.getDecoder().decode(reader.nextString());
      } catch (IllegalArgumentException e) {
        throw new JsonParseException("not base64 text at path " + reader.getPath());
      }
    }
  }

  private Json() {}
}
