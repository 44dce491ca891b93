-- The usage statements of whole months, as they lie in a bucket.
CREATE TABLE usage_statements (
    month      date        NOT NULL,
    bucket     text        NOT NULL,
    key        text        NOT NULL,
    sha256     text        NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT usage_statements_pkey PRIMARY KEY (month)
);

-- Which quota was told of in a month: of the installation, a group or a site; at what percentage of it.
CREATE TABLE usage_quotas_told (
    month   date        NOT NULL,
    scope   text        NOT NULL CONSTRAINT usage_quotas_told_scope_check CHECK (scope IN ('installation', 'group', 'site')),
    name    text        NOT NULL,
    percent integer     NOT NULL,
    told_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT usage_quotas_told_pkey PRIMARY KEY (month, scope, name, percent)
);
