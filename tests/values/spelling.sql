-- The spelling that the contract demands, from functions of PostgreSQL that have nothing to do with
-- the output functions the program's own spelling begins with.
--
-- In PL/pgSQL, which prepares a function once and not wherever it is called.

CREATE SCHEMA spell;

-- A year as extract() counts it, without a year zero.
CREATE FUNCTION spell.year(counted int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    y int := CASE WHEN counted < 0 THEN counted + 1 ELSE counted END;
BEGIN
    RETURN CASE WHEN y > 9999 THEN '+' WHEN y < 0 THEN '-' ELSE '' END
           || lpad(abs(y)::text, greatest(4, length(abs(y)::text)), '0');
END
$$;

CREATE FUNCTION spell.two(part numeric) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN lpad(part::int::text, 2, '0');
END
$$;

-- Microseconds as seconds.
CREATE FUNCTION spell.seconds(micros bigint, width int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    whole text := (micros / 1000000)::text;
    fraction bigint := micros % 1000000;
BEGIN
    RETURN lpad(whole, greatest(width, length(whole)), '0')
           || CASE fraction WHEN 0 THEN '' ELSE '.' || rtrim(lpad(fraction::text, 6, '0'), '0') END;
END
$$;

CREATE FUNCTION spell.clock(hour numeric, minute numeric, micros numeric) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN spell.two(hour) || ':' || spell.two(minute) || ':' || spell.seconds(micros::bigint, 2);
END
$$;

CREATE FUNCTION spell.iso(d date) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE WHEN NOT isfinite(d) THEN d::text
                ELSE spell.year(extract(year FROM d)::int) || '-' || spell.two(extract(month FROM d)::numeric)
                     || '-' || spell.two(extract(day FROM d)::numeric) END;
END
$$;

CREATE FUNCTION spell.iso(t time) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN spell.clock(extract(hour FROM t)::numeric, extract(minute FROM t)::numeric,
                       extract(microseconds FROM t)::numeric);
END
$$;

CREATE FUNCTION spell.iso(t timetz) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    east int := extract(timezone FROM t);
BEGIN
    RETURN spell.clock(extract(hour FROM t)::numeric, extract(minute FROM t)::numeric,
                       extract(microseconds FROM t)::numeric)
           || CASE WHEN east < 0 THEN '-' ELSE '+' END
           || spell.two(abs(east) / 3600) || ':' || spell.two(abs(east) / 60 % 60)
           || CASE abs(east) % 60 WHEN 0 THEN '' ELSE ':' || spell.two(abs(east) % 60) END;
END
$$;

CREATE FUNCTION spell.iso(t timestamp) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE WHEN NOT isfinite(t) THEN t::text
                ELSE spell.year(extract(year FROM t)::int) || to_char(t, '-MM-DD"T"HH24:MI:')
                     || spell.seconds(extract(microseconds FROM t)::bigint, 2) END;
END
$$;

CREATE FUNCTION spell.iso(t timestamptz) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN spell.iso(t AT TIME ZONE 'UTC') || CASE WHEN isfinite(t) THEN 'Z' ELSE '' END;
END
$$;

CREATE FUNCTION spell.part(amount numeric, unit text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE amount WHEN 0 THEN '' ELSE amount::bigint || unit END;
END
$$;

CREATE FUNCTION spell.iso(i interval) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    date text;
    clock text;
    micros bigint;
BEGIN
    IF NOT isfinite(i) THEN
        RETURN i::text;
    END IF;
    date := spell.part(extract(year FROM i)::numeric, 'Y') || spell.part(extract(month FROM i)::numeric, 'M')
            || spell.part(extract(day FROM i)::numeric, 'D');
    clock := spell.part(extract(hour FROM i)::numeric, 'H') || spell.part(extract(minute FROM i)::numeric, 'M');
    micros := extract(microseconds FROM i);
    IF micros <> 0 THEN
        clock := clock || CASE WHEN micros < 0 THEN '-' ELSE '' END || spell.seconds(abs(micros), 1) || 'S';
    END IF;
    RETURN CASE WHEN date || clock = '' THEN 'PT0S'
                ELSE 'P' || date || CASE clock WHEN '' THEN '' ELSE 'T' || clock END END;
END
$$;

-- Microseconds since 1970.
CREATE FUNCTION spell.micros(d date) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN (d - date '1970-01-01')::numeric * 86400000000;
END
$$;

CREATE FUNCTION spell.micros(t timestamp) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN spell.micros(t::date) + extract(hour FROM t)::numeric * 3600000000
           + extract(minute FROM t)::numeric * 60000000 + extract(microseconds FROM t)::numeric;
END
$$;

CREATE FUNCTION spell.micros(t timestamptz) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN spell.micros(t AT TIME ZONE 'UTC');
END
$$;

-- As `timestamps: epoch_us` and `epoch_ms` want it.
CREATE FUNCTION spell.epoch_us(t anyelement) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE WHEN isfinite(t) THEN trunc(spell.micros(t))::text ELSE t::text END;
END
$$;

CREATE FUNCTION spell.epoch_ms(t anyelement) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE WHEN isfinite(t) THEN floor(spell.micros(t) / 1000)::text ELSE t::text END;
END
$$;

CREATE FUNCTION spell.base64(b bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN translate(encode(b, 'base64'), E'\n', '');
END
$$;

-- JSON texts as a JSON array with the dimensions of this one.
CREATE FUNCTION spell.nest(dimensions anyarray, flat text[]) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    level text[] := flat;
    next text[];
    length int;
BEGIN
    IF cardinality(flat) = 0 THEN
        RETURN '[]';
    END IF;
    FOR d IN REVERSE array_ndims(dimensions)..1 LOOP
        length := array_length(dimensions, d);
        next := '{}';
        FOR i IN 0..cardinality(level) / length - 1 LOOP
            next := next || ('[' || array_to_string(level[i * length + 1:(i + 1) * length], ',') || ']');
        END LOOP;
        level := next;
    END LOOP;
    RETURN level[1];
END
$$;
