//! The rules, each with its name in Confluent's Schema Registry, whose list for JSON Schema this follows.

use std::fmt;

/// What a reader's schema asks for that a writer's schema does not promise.
///
/// Names are those of Confluent Schema Registry's `Difference.Type` (`json-schema-provider`, package `diff`) in lower case,
/// of those differences that `SchemaDiff.COMPATIBLE_CHANGES` does not list; [`Self::source`] says which are our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each has its name from the rules' source and its meaning in `meaning`")]
pub enum Rule {
    TypeChanged,
    TypeNarrowed,
    MaxLengthAdded,
    MaxLengthDecreased,
    MinLengthAdded,
    MinLengthIncreased,
    PatternAdded,
    PatternChanged,
    MaximumAdded,
    MaximumDecreased,
    MinimumAdded,
    MinimumIncreased,
    ExclusiveMaximumAdded,
    ExclusiveMaximumDecreased,
    ExclusiveMinimumAdded,
    ExclusiveMinimumIncreased,
    MultipleOfAdded,
    MultipleOfExpanded,
    MultipleOfChanged,
    RequiredAttributeAdded,
    MaxPropertiesAdded,
    MaxPropertiesDecreased,
    MinPropertiesAdded,
    MinPropertiesIncreased,
    AdditionalPropertiesNarrowed,
    DependencyArrayAdded,
    DependencyArrayExtended,
    DependencySchemaAdded,
    RequiredPropertyAddedToUnopenContentModel,
    RequiredPropertyAddedToOpenContentModel,
    PropertyAddedToOpenContentModel,
    PropertyAddedNotCoveredByPartiallyOpenContentModel,
    MaxItemsAdded,
    MaxItemsDecreased,
    MinItemsAdded,
    MinItemsIncreased,
    UniqueItemsAdded,
    AdditionalItemsRemoved,
    AdditionalItemsNarrowed,
    ItemAddedToOpenContentModel,
    EnumArrayNarrowed,
    SumTypeNarrowed,
    CombinedTypeChanged,
    NotTypeExtended,
    EnumAdded,
    ConstChanged,
    FormatAdded,
    FormatChanged,
    FormatLimitAdded,
    FormatLimitNarrowed,
    PatternPropertiesAdded,
    PropertyNamesNarrowed,
    ContainsChanged,
    ConditionChanged,
    UnevaluatedChanged,
}

/// Where a rule is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A difference of Confluent's, which its compatible changes do not list.
    Confluent,
    /// Draft 2020-12 has what Confluent's list does not, or has under another difference.
    Draft202012,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 55] = [
        Self::TypeChanged,
        Self::TypeNarrowed,
        Self::MaxLengthAdded,
        Self::MaxLengthDecreased,
        Self::MinLengthAdded,
        Self::MinLengthIncreased,
        Self::PatternAdded,
        Self::PatternChanged,
        Self::MaximumAdded,
        Self::MaximumDecreased,
        Self::MinimumAdded,
        Self::MinimumIncreased,
        Self::ExclusiveMaximumAdded,
        Self::ExclusiveMaximumDecreased,
        Self::ExclusiveMinimumAdded,
        Self::ExclusiveMinimumIncreased,
        Self::MultipleOfAdded,
        Self::MultipleOfExpanded,
        Self::MultipleOfChanged,
        Self::RequiredAttributeAdded,
        Self::MaxPropertiesAdded,
        Self::MaxPropertiesDecreased,
        Self::MinPropertiesAdded,
        Self::MinPropertiesIncreased,
        Self::AdditionalPropertiesNarrowed,
        Self::DependencyArrayAdded,
        Self::DependencyArrayExtended,
        Self::DependencySchemaAdded,
        Self::RequiredPropertyAddedToUnopenContentModel,
        Self::RequiredPropertyAddedToOpenContentModel,
        Self::PropertyAddedToOpenContentModel,
        Self::PropertyAddedNotCoveredByPartiallyOpenContentModel,
        Self::MaxItemsAdded,
        Self::MaxItemsDecreased,
        Self::MinItemsAdded,
        Self::MinItemsIncreased,
        Self::UniqueItemsAdded,
        Self::AdditionalItemsRemoved,
        Self::AdditionalItemsNarrowed,
        Self::ItemAddedToOpenContentModel,
        Self::EnumArrayNarrowed,
        Self::SumTypeNarrowed,
        Self::CombinedTypeChanged,
        Self::NotTypeExtended,
        Self::EnumAdded,
        Self::ConstChanged,
        Self::FormatAdded,
        Self::FormatChanged,
        Self::FormatLimitAdded,
        Self::FormatLimitNarrowed,
        Self::PatternPropertiesAdded,
        Self::PropertyNamesNarrowed,
        Self::ContainsChanged,
        Self::ConditionChanged,
        Self::UnevaluatedChanged,
    ];

    /// The rule's name and what its breach means for a reader.
    const fn described(self) -> (&'static str, &'static str) {
        match self {
            Self::TypeChanged => ("type_changed", "has another type"),
            Self::TypeNarrowed => ("type_narrowed", "may have a type that the reader does not take"),
            Self::MaxLengthAdded => ("max_length_added", "may be longer than the reader takes"),
            Self::MaxLengthDecreased => ("max_length_decreased", "may be longer than the reader takes"),
            Self::MinLengthAdded => ("min_length_added", "may be shorter than the reader takes"),
            Self::MinLengthIncreased => ("min_length_increased", "may be shorter than the reader takes"),
            Self::PatternAdded => ("pattern_added", "need not match the reader's pattern"),
            Self::PatternChanged => ("pattern_changed", "has another pattern"),
            Self::MaximumAdded => ("maximum_added", "may be greater than the reader takes"),
            Self::MaximumDecreased => ("maximum_decreased", "may be greater than the reader takes"),
            Self::MinimumAdded => ("minimum_added", "may be less than the reader takes"),
            Self::MinimumIncreased => ("minimum_increased", "may be less than the reader takes"),
            Self::ExclusiveMaximumAdded => ("exclusive_maximum_added", "may be greater than the reader takes"),
            Self::ExclusiveMaximumDecreased => ("exclusive_maximum_decreased", "may be greater than the reader takes"),
            Self::ExclusiveMinimumAdded => ("exclusive_minimum_added", "may be less than the reader takes"),
            Self::ExclusiveMinimumIncreased => ("exclusive_minimum_increased", "may be less than the reader takes"),
            Self::MultipleOfAdded => ("multiple_of_added", "need not be a multiple that the reader takes"),
            Self::MultipleOfExpanded => ("multiple_of_expanded", "need not be a multiple that the reader takes"),
            Self::MultipleOfChanged => ("multiple_of_changed", "is a multiple of something else"),
            Self::RequiredAttributeAdded => ("required_attribute_added", "may be missing, and the reader requires it"),
            Self::MaxPropertiesAdded => ("max_properties_added", "may have more properties than the reader takes"),
            Self::MaxPropertiesDecreased => {
                ("max_properties_decreased", "may have more properties than the reader takes")
            }
            Self::MinPropertiesAdded => ("min_properties_added", "may have fewer properties than the reader takes"),
            Self::MinPropertiesIncreased => {
                ("min_properties_increased", "may have fewer properties than the reader takes")
            }
            Self::AdditionalPropertiesNarrowed => (
                "additional_properties_narrowed",
                "may have further properties of a kind that the reader does not take",
            ),
            Self::DependencyArrayAdded => {
                ("dependency_array_added", "may stand without what the reader requires beside it")
            }
            Self::DependencyArrayExtended => {
                ("dependency_array_extended", "may stand without what the reader requires beside it")
            }
            Self::DependencySchemaAdded => {
                ("dependency_schema_added", "may stand beside what the reader does not take")
            }
            Self::RequiredPropertyAddedToUnopenContentModel => {
                ("required_property_added_to_unopen_content_model", "is not there, and the reader requires it")
            }
            Self::RequiredPropertyAddedToOpenContentModel => {
                ("required_property_added_to_open_content_model", "need not be there, and the reader requires it")
            }
            Self::PropertyAddedToOpenContentModel => (
                "property_added_to_open_content_model",
                "may be there as anything, because the writer's schema lets further properties be; close it first, in a version \
                 with \"additionalProperties\": false",
            ),
            Self::PropertyAddedNotCoveredByPartiallyOpenContentModel => (
                "property_added_not_covered_by_partially_open_content_model",
                "may be there as one of the writer's further properties, of a kind that the reader does not take",
            ),
            Self::MaxItemsAdded => ("max_items_added", "may have more items than the reader takes"),
            Self::MaxItemsDecreased => ("max_items_decreased", "may have more items than the reader takes"),
            Self::MinItemsAdded => ("min_items_added", "may have fewer items than the reader takes"),
            Self::MinItemsIncreased => ("min_items_increased", "may have fewer items than the reader takes"),
            Self::UniqueItemsAdded => ("unique_items_added", "may have equal items, which the reader does not take"),
            Self::AdditionalItemsRemoved => {
                ("additional_items_removed", "may have further items, which the reader does not take")
            }
            Self::AdditionalItemsNarrowed => {
                ("additional_items_narrowed", "may have items of a kind that the reader does not take")
            }
            Self::ItemAddedToOpenContentModel => ("item_added_to_open_content_model", "may be anything at that place"),
            Self::EnumArrayNarrowed => ("enum_array_narrowed", "may have a value that the reader does not list"),
            Self::SumTypeNarrowed => ("sum_type_narrowed", "may be of an alternative that the reader does not have"),
            Self::CombinedTypeChanged => ("combined_type_changed", "need not keep to any of the reader's alternatives"),
            Self::NotTypeExtended => ("not_type_extended", "may be what the reader excludes"),
            Self::EnumAdded => ("enum_added", "may have a value that the reader does not list"),
            Self::ConstChanged => ("const_changed", "may have another value than the reader's only one"),
            Self::FormatAdded => ("format_added", "need not have the reader's format"),
            Self::FormatChanged => ("format_changed", "has another format"),
            Self::FormatLimitAdded => ("format_limit_added", "may be earlier or later than the reader takes"),
            Self::FormatLimitNarrowed => ("format_limit_narrowed", "may be earlier or later than the reader takes"),
            Self::PatternPropertiesAdded => {
                ("pattern_properties_added", "may be of a kind that the reader does not take")
            }
            Self::PropertyNamesNarrowed => ("property_names_narrowed", "may have names that the reader does not take"),
            Self::ContainsChanged => ("contains_changed", "need not contain what the reader asks for"),
            Self::ConditionChanged => ("condition_changed", "need not keep to the reader's if, then and else"),
            Self::UnevaluatedChanged => ("unevaluated_changed", "may have further parts that the reader does not take"),
        }
    }

    /// The rule as it is reported.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.described().0
    }

    /// What a value of the writer's may be, after its name.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        self.described().1
    }

    /// Where it is from.
    #[must_use]
    pub const fn source(self) -> Source {
        match self {
            Self::EnumAdded
            | Self::ConstChanged
            | Self::FormatAdded
            | Self::FormatChanged
            | Self::FormatLimitAdded
            | Self::FormatLimitNarrowed
            | Self::PatternPropertiesAdded
            | Self::PropertyNamesNarrowed
            | Self::ContainsChanged
            | Self::ConditionChanged
            | Self::UnevaluatedChanged => Source::Draft202012,
            _ => Source::Confluent,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
