-- People look for tags and descriptions by a part of them, and for artifacts by the first digits of a digest.

-- Every two characters that stand beside each other in a text, in small letters, with a mark before the first one: one
-- character is looked for where a text begins. Two and not three, because words of Chinese are that short. Made here and
-- not by an extension, which the database of an installation may not have.
create function catalog.grams(text text) returns text[] language sql immutable strict parallel safe as $$
    select coalesce(array_agg(distinct substr(marked, i, 2)), '{}')
    from (select lower((chr(1) || text) collate "C") as marked) as whole,
         generate_series(1, length(marked) - 1) as i
$$;

-- What a text has that contains `part`.
create function catalog.grams_of_part(part text) returns text[] language sql immutable strict parallel safe as $$
    select case when length(part) < 2 then catalog.grams(part)
                else array(select gram from unnest(catalog.grams(part)) as gram where gram not like chr(1) || '%') end
$$;

create index tags_grams_idx on catalog.tags using gin (catalog.grams(name)) where not hidden;
create index repositories_description_idx on catalog.repositories using gin (catalog.grams(left(description, 2000)))
    where deleted_at is null and description <> '';
create index manifests_digest_idx on catalog.manifests (digest) where deleted_at is null;
